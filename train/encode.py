"""Writes the codes of a data set's images into one file, or makes images of such codes again.

python train/encode.py runs/mine/model.keras --dataset photos --output codes.npz
python train/encode.py runs/mine/model.keras --decode codes.npz --output images
"""

from pathlib import Path

import _environment
import _flags
import _types


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_file(parser)
    _flags.add_backend(parser, several=True)
    add = parser.add_argument_group("codes").add_argument
    add(
        "--kind", help="means or samples of the posterior, or tokens (default: tokens where there are some, else means)"
    )
    add("--seed", type=_types.seed, default=0, help="of samples")
    add("--decode", type=Path, metavar="CODES", help="make images of these codes, a PNG each, instead of codes")
    add("--output", type=Path, required=True, metavar="PATH", help="the file of codes (.npz), or the folder of images")
    _flags.add_data(parser, None)
    add("--split", choices=("train", "validation", "test"), default="train", help="of the data set")
    add("--smoke", action="store_true", help="few images, to see that everything runs")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    if args.output.exists():
        parse.error(f"{args.output} exists already; choose another name with --output")
    if not args.decode and args.output.suffix != ".npz":
        parse.error(f"--output {args.output} must end in .npz")
    if args.smoke:
        args.limit = args.limit or 20
    _environment.set_environment(parse, args.backend, args.devices)
    from keras_ae import codes, pictures

    if args.decode:
        _flags.check_one_process()
    saved = _flags.open_file(args)
    if args.decode:
        held = codes.open_codes(args.decode)
        images = (image for batch in codes.decode(saved.model, held) for image in batch)
        pictures.save_each(args.output, images, (f"{number:06d}.png" for number in range(len(held))))
        print(f"written: {args.output}, {len(held):,} images")
        return
    dataset = saved.load_dataset(args.dataset, data_dir=args.data_dir, cache_dir=args.cache_dir, limit=args.limit)
    split = saved.split(dataset, args.split)
    codes.encode(saved.model, split, args.output, kind=args.kind, class_names=dataset.class_names, seed=args.seed)
    held = codes.open_codes(args.output)
    shape = "x".join(map(str, held.codes.shape[1:]))
    print(f"written: {args.output}, {held.kind} of {len(held):,} {args.split} images of {dataset.name}, {shape} each")


if __name__ == "__main__":
    _flags.run(main)
