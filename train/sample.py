"""Makes pictures from a saved model: samples, reconstructions, completions, restored images and more.

python train/sample.py runs/mine/model.keras --labels star,heart --count 16
python train/sample.py denoiser.keras --dataset photos --split all --separate
"""

import itertools
import sys
from pathlib import Path

import _environment
import _flags
import _types

KINDS = ("samples", "reconstructions", "interpolations", "traversals", "variations", "completions", "restored")
COUNTS = {"interpolations": 16, "completions": 8, "variations": 8}  # the others: 64
SUFFIXES = (".png", ".webp", ".jpg")


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_file(parser)
    _flags.add_backend(parser, several=True)
    add = parser.add_argument_group("what to make").add_argument
    add("--kind", choices=KINDS, metavar="KIND", help=f"{', '.join(KINDS)} (default: samples, or restored images)")
    add("--count", type=_types.positive, metavar="N", help="samples, or images to start from (default: 64 or fewer)")
    add("--labels", metavar="A,B", help="classes of samples or reconstructions, by name or number (default: all)")
    add("--seed", type=_types.seed, metavar="N", default=0, help="of the noise: one seed, the same samples")
    text = "spread of the latents of samples; of a hierarchy also one for each level: 0.7,1"
    add("--temperature", type=_types.temperature, metavar="X", default=1.0, help=text)
    text = "of a hierarchy: whose latents traversals move, or how many levels variations share (default: 1, the top)"
    add("--level", type=_types.positive, metavar="N", help=text)
    add(
        "--guidance",
        type=_types.not_negative,
        metavar="X",
        help="how much a label counts for a prior that is a network",
    )
    add("--top-p", type=_types.share, metavar="X", help="only the likeliest tokens that have this probability together")
    add("--draw-pixels", action="store_true", help="samples with pixels from the likelihood, instead of their means")
    add("--mirrored", action="store_true", help="restore mirrored images too and take the mean: twice the time")
    add("--output", type=Path, metavar="PATH", help="the picture (default: a new name in this folder)")
    add("--separate", action="store_true", help="a folder with a PNG for each image, instead of one picture")
    add("--smoke", action="store_true", help="few images, to see that everything runs")
    _flags.add_data(parser, None)
    add = parser.add_argument_group("images to start from").add_argument
    add("--split", choices=("train", "validation", "test", "all"), default="test", help="of the data set")
    _flags.add_corruption(add, "done to them first (default: as in training; none: they are noisy; masks: from files)")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    if args.output and args.output.exists():
        parse.error(f"{args.output} exists already; choose another name with --output")
    if args.output and not args.separate and args.output.suffix not in SUFFIXES:
        parse.error(f"--output {args.output} must end in {', '.join(SUFFIXES)}")
    if args.kind == "interpolations" and args.count == 1:
        parse.error("interpolations need two images or more; raise --count")
    if args.smoke:
        args.count, args.limit = 4, args.limit or 20
    _environment.set_environment(parse, args.backend, args.devices)
    from keras_ae import InputError, pictures

    _flags.check_one_process()
    if args.trust:
        print(f"{args.file} is trusted: code in it may run", file=sys.stderr)
    saved = _flags.open_file(args)
    kind = args.kind or ("samples" if saved.is_vae else "restored")
    if saved.is_vae == (kind == "restored"):
        raise InputError(f"{'a VAE' if saved.is_vae else 'an autoencoder'} makes no {kind}; choose another --kind")
    if kind != "restored" and (args.mirrored or args.split == "all"):
        raise InputError(f"{kind} take neither --mirrored nor --split all; these are for restored images")
    output = args.output or pictures.new_path(Path(f"{args.file.stem}-{kind}" + ("" if args.separate else ".png")))
    where = {name: getattr(args, name) for name in ("data_dir", "cache_dir", "limit")}
    is_folder = kind == "restored" and args.separate and args.dataset and Path(args.dataset).is_dir()
    if is_folder and _restored_folder(args, saved, output):
        return
    dataset = None if kind == "samples" else saved.load_dataset(args.dataset, **where)
    if kind == "restored":
        count = args.count or (None if args.separate else 64)
        task = saved.task(args.corruption)
        named = pictures.restored(saved.model, task, dataset, count, split=args.split, mirrored=args.mirrored)
        word, images = list(named.items())[-1]
        if args.separate:
            pictures.save_each(output, images, pictures.file_names(dataset, count, split=args.split, word=word))
        else:
            pictures.comparison(named).save(output)
    else:
        names = ("split", "corruption", "temperature", "seed", "guidance", "top_p", "draw_pixels", "level")
        settings = {name: getattr(args, name) for name in names}
        labels = args.labels and args.labels.split(",")
        count = args.count or COUNTS.get(kind, 64)
        rows = pictures.of_vae(saved, kind, count, dataset, labels=labels, **settings)
        rows.save_each(output) if args.separate else rows.save(output)
    print(f"written: {output}")


def _restored_folder(args, saved, output: Path) -> bool:
    """Restores each image at its own size, one at a time. Not where all have the size of a model that needs it."""
    from keras_ae import InputError, data, pictures

    task, count = saved.task(args.corruption), args.count or args.limit
    try:
        photographs, named = itertools.tee(
            data.photographs(args.dataset, args.split, count, masks=task.masks and task.takes_mask)
        )
        restored = pictures.restored_photographs(saved.model, task, photographs, mirrored=args.mirrored)
    except InputError:
        if data.sizes(args.dataset) == {saved.image_shape[:2]}:
            return False
        raise
    pictures.save_each(output, restored, (photograph.name for photograph in named))
    print(f"written: {output}")
    return True


if __name__ == "__main__":
    _flags.run(main)
