"""Measures a saved model on a split of a data set.

python train/evaluate.py runs/mine/model.keras --per-class
python train/evaluate.py saved_models/denoiser_cifar10.keras --corruption gaussian:50/255 --json
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import _environment
import _flags
import _types

COMPLETED = 100  # images that a VAE completes, if --limit does not say: each takes about a second


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_file(parser)
    _flags.add_backend(parser)
    add = parser.add_argument_group("what to measure").add_argument
    add("--split", choices=("train", "validation", "test"), default="test", help="which images")
    add("--per-class", action="store_true", help="also the images of each class alone")
    _flags.add_corruption(add, "instead of the one trained on; a VAE completes what it hides")
    add(
        "--draws",
        type=_types.positive,
        metavar="N",
        help="also a VAE's log-likelihood, by so many draws an image: 5000 in papers, 500 for convolutions",
    )
    add("--json", action="store_true", help="one JSON object instead of a table")
    add("--smoke", action="store_true", help="few images, to see that everything runs")
    _flags.add_data(parser, None)
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    if args.smoke:
        args.limit = args.limit or 20
    _environment.set_environment(parse, args.backend)
    from keras_ae import open_model
    from keras_ae.data.cache import default_cache_dir
    from keras_ae.evaluation import as_table, evaluate, per_class

    if args.trust:
        print(f"{args.file} is trusted: code in it may run", file=sys.stderr)
    saved = open_model(args.file, trust=args.trust, memory=args.max_memory * 2**20)
    task = saved.task(args.corruption) if args.corruption or not saved.is_vae else None
    dataset = saved.load_dataset(args.dataset, data_dir=args.data_dir, cache_dir=args.cache_dir, limit=args.limit)
    split = saved.split(dataset, args.split)
    if task:
        task.check(dataset)
    if task and saved.is_vae:
        split = replace(split, indices=split.indices[: args.limit or COMPLETED])
    measure = partial(evaluate, saved.model, task=task, loss=saved.loss)
    kept = Path(args.cache_dir).expanduser() if args.cache_dir else default_cache_dir()
    likelihood = {"draws": args.draws, "kept": kept, "verbose": sys.stderr.isatty()} if args.draws else {}
    results = measure(split, **likelihood)
    classes = per_class(measure, dataset, split) if args.per_class else {}
    about = {"dataset": dataset.name, "split": args.split, "images": len(split)}
    results = ({"task": task.name, "corruption": task.corruption or "none"} if task else {}) | results
    if args.json:
        print(json.dumps({"file": str(args.file), **about, **results} | ({"classes": classes} if classes else {})))
        return
    title = f"{args.file}: {len(split):,} {args.split} images of {dataset.name}{'' if task else ' (nats per image)'}"
    for name, measures in {title: results, **classes}.items():
        print(f"\n{as_table(_flags.printable(name), measures)}")


if __name__ == "__main__":
    _flags.run(main)
