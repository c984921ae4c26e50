"""Pictures from a saved model: samples, reconstructions, interpolations, traversals, completions, restored images.

python train/sample.py saved_models/vae_shapes.keras
"""

from pathlib import Path

import _environment
import _flags

KINDS = ("samples", "reconstructions", "interpolations", "traversals", "completions", "restored")


def parser() -> _flags.Parser:
    parser = _flags.Parser(description=__doc__.splitlines()[0])
    _flags.add_file(parser)
    _flags.add_backend(parser)
    add = parser.add_argument_group("what to make").add_argument
    add(
        "--kind",
        choices=KINDS,
        help="of a VAE (default: samples; all others start from images of a data set); a convolutional autoencoder "
        "makes restored images",
    )
    add(
        "--labels",
        metavar="A,B",
        help="class names or numbers of samples or reconstructions, a row each (default: all)",
    )
    add("--count", type=_flags.positive, help="samples, or images to start from (default: 64; completions: 8)")
    add("--temperature", type=_flags.not_negative, default=1.0, help="spread of the latents of samples")
    add("--seed", type=_flags.seed, default=0, help="of the latents; one seed gives the same samples on every backend")
    _flags.add_data(parser, None)
    add = parser.add_argument_group("images to start from").add_argument
    add("--split", choices=("train", "validation", "test", "all"), default="test", help="of the data set")
    _flags.add_corruption(
        add,
        "what is done to them before they are restored or completed (default: as in training; "
        "none: nothing, they are noisy already; masks: what is not black in NAME_mask.png beside an image is missing)",
    )
    add(
        "--mirrored",
        action="store_true",
        help="restored images are the mean with those of the mirrored images: a little better, twice the time",
    )
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
    if args.kind == "interpolations" and args.count and args.count < 2:
        parse.error("interpolations need two images or more; raise --count")
    if args.smoke:
        args.count, args.limit = 4, args.limit or 20
    _environment.set_environment(parse, args.backend)
    import _pictures
    from _files import File

    from keras_ae import InputError
    from keras_ae import pictures as images

    file = File(args.file, trust=args.trust)
    kind = args.kind or ("samples" if file.is_vae else "restored")
    if args.split == "all" and kind != "restored":
        raise InputError(f"{kind} start from one split; --split all is for restored images")
    if args.mirrored and kind != "restored":
        raise InputError(f"{kind} have no mirrored mean; --mirrored is for restored images")
    if file.is_vae == (kind == "restored"):
        raise InputError(f"a {'VAE' if file.is_vae else 'convolutional autoencoder'} makes no {kind}")
    rows, names, files = _pictures.KINDS[kind](args, file)
    output = args.output or free_name(Path(f"{args.file.stem}-{kind}" + ("" if args.separate else ".png")))
    if args.separate:
        _pictures.save_each(rows, names, files, output)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        titles = {"completions": "original, masked, completions"}
        if kind == "reconstructions" and file.class_names:
            titles[kind] = "original and decoded, in pairs"
        images.grid(rows, names, titles.get(kind)).save(output)
    print(f"written: {output}")


def free_name(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist."""
    number = 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


if __name__ == "__main__":
    _flags.run(main)
