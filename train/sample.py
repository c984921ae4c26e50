"""Pictures from a saved model: samples, reconstructions, interpolations, traversals.

python train/sample.py saved_models/vae_shapes.keras
"""

import math
from pathlib import Path

import _cli

KINDS = ("samples", "reconstructions", "interpolations", "traversals")
COLUMNS = 8


def parser() -> _cli.Parser:
    parser = _cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="a .keras file written by train/vae.py")
    _cli.add_backend(parser)
    add = parser.add_argument_group("what to make").add_argument
    add("--kind", choices=KINDS, default="samples", help="all but samples start from images of a data set")
    add("--labels", metavar="A,B", help="class names or numbers for the samples, a row each (default: all)")
    add("--count", type=_cli.positive, default=64, help="samples, or images to start from")
    add("--temperature", type=_cli.not_negative, default=1.0, help="spread of the latents of samples")
    add("--seed", type=_cli.seed, default=0, help="of the latents; one seed gives the same samples on every backend")
    _cli.add_data(parser, None)
    add = parser.add_argument_group("files").add_argument
    add("--output", type=Path, metavar="PATH", help="the picture (default: a new name beside you)")
    add("--separate", action="store_true", help="one PNG for each image, in a folder, instead of a grid")
    add("--smoke", action="store_true", help="few images, to see that everything runs")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    if args.output and args.output.exists():
        parse.error(f"{args.output} exists already; choose another name with --output")
    if args.output and not args.separate and args.output.suffix not in (".png", ".webp", ".jpg"):
        parse.error(f"--output {args.output} must end in .png, .webp or .jpg")
    if args.kind == "interpolations" and args.count < 2:
        parse.error("interpolations need two images or more; raise --count")
    if args.smoke:
        args.count, args.limit = 4, args.limit or 20
    _cli.set_environment(parse, args.backend)
    import numpy as np

    from keras_ae import images, load_model, read_metadata

    model = load_model(args.file)
    if args.kind == "samples":
        rows, names = samples(args, model)
    else:
        batch = _cli.load_dataset(args, model, read_metadata(args.file)).test.batch(slice(0, args.count))
        labels = batch["label"] if model.conditioning != "none" else None
        rows, names = FROM_IMAGES[args.kind](model, batch["image"], labels)
    output = args.output or free_name(Path(f"{args.file.stem}-{args.kind}" + ("" if args.separate else ".png")))
    if args.separate:
        output.mkdir(parents=True)
        for y, row in enumerate(rows):
            for x, image in enumerate(row):
                if not np.isnan(image).any():  # a place of the grid that is not filled
                    images.to_picture(image).save(output / f"{y:03d}_{names[y] if names else 'image'}_{x:03d}.png")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        images.grid(rows, names).save(output)
    print(f"written: {output}")


def samples(args, model):
    """Rows of samples with their names: a row per class, or rows of `COLUMNS`."""
    import numpy as np

    from keras_ae import InputError

    if model.conditioning == "none":
        if args.labels:
            raise InputError("this model is not conditional: leave out --labels")
        found = model.sample(args.count, temperature=args.temperature, seed=args.seed)
        return in_rows(found), None
    labels = args.labels.split(",") if args.labels else model.class_names
    labels = [int(label) if label not in model.class_names and label.isdigit() else label for label in labels]
    names = [model.class_names[label] for label in model.label_ids(labels, len(labels))]
    columns = math.ceil(args.count / len(names))
    found = model.sample(columns * len(names), np.repeat(names, columns), args.temperature, args.seed)
    return found.reshape(len(names), columns, *model.image_shape), names


def reconstructions(model, images, labels):
    import numpy as np

    originals, decoded = in_rows(images), in_rows(model.reconstruct(images, labels))
    rows = np.stack([originals, decoded], axis=1).reshape(-1, *originals.shape[1:])
    return rows, ["original", "decoded"] * len(originals)


def interpolations(model, images, labels):
    pairs = min(COLUMNS, len(images) // 2)
    labels = None if labels is None else labels[:pairs]
    return model.interpolate(images[:pairs], images[pairs : 2 * pairs], COLUMNS, labels), None


def traversals(model, images, labels):
    latents, rows = model.traverse(images, labels=labels)
    return rows, [f"z{latent}" for latent in latents]


FROM_IMAGES = {"reconstructions": reconstructions, "interpolations": interpolations, "traversals": traversals}


def in_rows(images):
    """(n, ...) -> (rows, COLUMNS, ...), filled up with NaN, which a grid leaves white."""
    import numpy as np

    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    empty = np.full((rows * columns - len(images), *images.shape[1:]), np.nan, "float32")
    return np.concatenate([images, empty]).reshape(rows, columns, *images.shape[1:])


def free_name(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist."""
    number = 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


if __name__ == "__main__":
    _cli.run(main)
