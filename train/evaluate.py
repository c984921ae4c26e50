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

COMPARED = 10_000  # images that --distances compares, if --count does not say
COMPLETED = 100  # images that a VAE completes, if --limit does not say: each takes about a second


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_file(parser)
    _flags.add_backend(parser, several=True)
    add = parser.add_argument_group("what to measure").add_argument
    kinds = ("train", "validation", "test")
    add("--split", choices=kinds, help="which images (default: test; of samples' distances: train)")
    add("--per-class", action="store_true", help="also the images of each class alone")
    _flags.add_corruption(add, "instead of the one trained on; a VAE completes what it hides")
    add(
        "--draws",
        type=_types.positive,
        metavar="N",
        help="also a VAE's log-likelihood, by so many draws an image: 5000 in papers, 500 for convolutions",
    )
    add("--distances", choices=("samples", "reconstructions"), help="instead: how near these are to real images")
    add("--count", type=_types.positive, metavar="N", help="images that --distances compares (default: 10000 at most)")
    add("--features", type=Path, metavar="FILE", help="the network it looks with (default: EfficientNet-Lite0)")
    add("--guidance", type=_types.not_negative, metavar="X", help="of its samples, as train/sample.py takes it")
    add("--seed", type=_types.seed, default=0, help="of its samples, and of which real images it takes")
    add("--json", action="store_true", help="one JSON object instead of a table")
    add("--smoke", action="store_true", help="few images, to see that everything runs")
    _flags.add_data(parser, None)
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    if args.distances and (args.per_class or args.draws or args.corruption):
        parse.error("--distances measures nothing else; leave out --per-class, --draws and --corruption")
    if args.smoke:
        args.limit = args.limit or 20
    args.split = args.split or ("train" if args.distances == "samples" else "test")
    _environment.set_environment(parse, args.backend, args.devices)
    from keras_ae.data.cache import cache_folder
    from keras_ae.evaluation import as_table, evaluate, per_class

    if args.trust:
        print(f"{args.file} is trusted: code in it may run", file=sys.stderr)
    saved = _flags.open_file(args)
    task = saved.task(args.corruption) if args.corruption or not saved.is_vae else None
    dataset = saved.load_dataset(args.dataset, data_dir=args.data_dir, cache_dir=args.cache_dir, limit=args.limit)
    split = saved.split(dataset, args.split)
    if task:
        task.check(dataset)
    if task and saved.is_vae:
        split = replace(split, indices=split.indices[: args.limit or COMPLETED])
    if args.distances:
        _print_distances(args, saved, dataset, split)
        return
    measure = partial(evaluate, saved.model, task=task, loss=saved.loss)
    likelihood = (
        {"draws": args.draws, "kept": cache_folder(args.cache_dir), "verbose": sys.stderr.isatty()}
        if args.draws
        else {}
    )
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


def _print_distances(args, saved, dataset, split) -> None:
    from keras_ae import InputError
    from keras_ae.evaluation import as_table, distances, feature_networks

    if not saved.is_vae:
        raise InputError("only a VAE has samples and reconstructions to compare; leave out --distances")
    network = feature_networks.open_network(args.features, args.cache_dir)
    count = args.count or min(COMPARED, len(split) // 2)
    if args.distances == "samples":
        guidance = {} if args.guidance is None else {"guidance": args.guidance}
        results = distances.of_samples(saved.model, split, count, network, seed=args.seed, **guidance)
    else:
        results = distances.of_reconstructions(saved.model, split, count, network, seed=args.seed)
    about = {"features": network.name, "resized_to": network.size, "split": args.split, "images": count}
    if args.json:
        print(json.dumps({"file": str(args.file), "dataset": dataset.name, **about, **results}))
        return
    title = f"{args.file}: {args.distances} against {args.split} images of {dataset.name}; the floor: other such images"
    print(f"\n{as_table(_flags.printable(title), about | results)}")


if __name__ == "__main__":
    _flags.run(main)
