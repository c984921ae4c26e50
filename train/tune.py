"""Finds how many latent features are worth having, with KerasTuner, and shows why.

python train/tune.py --backend jax --dataset cifar10
"""

import argparse
import sys
from pathlib import Path

import _environment
import _flags
import _runs
import _training
import _trials
import _workers

# What is tuned: the flag, the script's flag of one value, and its type
TUNED = {
    "latent_dims": ("latent_dim", int),
    "code_sizes": ("code_size", int),
    "widths": ("width", int),
    "learning_rates": ("learning_rate", float),
    "betas": ("beta", float),
}
DEFAULT = {"vae": ("latent_dims", "8,16,32,40,64,128"), "conv_ae": ("code_sizes", "1,2,3,4")}
OTHER = {"vae": {"code_sizes"}, "conv_ae": {"latent_dims", "betas"}}  # what the model does not have
ANEW = ("data_dir", "cache_dir", "workers", "time_limit", "output", "run_dir")  # may change when a search goes on


def parser() -> _flags.Parser:
    parser = _flags.Parser(description=__doc__.splitlines()[0])
    _flags.add_backend(parser)
    _flags.add_data(parser, "shapes")
    add = parser.add_argument_group("what is tuned: choices, as 8,16,32, or a range, as 8:256").add_argument
    add("--model", choices=DEFAULT, default="vae", help="a VAE, or a convolutional autoencoder to reconstruct")
    for flag, (name, _) in TUNED.items():
        only = {"latent_dims": "of a VAE", "betas": "of a VAE", "code_sizes": "of a conv_ae"}.get(flag, "of both")
        add(f"--{flag.replace('_', '-')}", metavar="LIST", help=f"{name.replace('_', ' ')}, {only}")
    add = parser.add_argument_group("search").add_argument
    add("--search", default="grid", help="grid (all combinations), random, bayesian or hyperband")
    add("--trials", type=_flags.positive, default=20, help="of random and bayesian, at most")
    add("--max-epochs", type=_flags.positive, default=10, help="passes over the training images in a trial")
    add("--patience", type=_flags.positive, help="epochs without a lower validation loss that end a trial")
    add("--time-limit", type=_flags.seconds, metavar="TIME", help="30m or 2h, after which no trial is begun")
    add("--workers", type=_flags.positive, default=1, help="processes that run trials, each on its share of the cores")
    add = parser.add_argument_group("model and training").add_argument
    add("--likelihood", default="squared_error", help="of a VAE, for all trials: squared_error or gaussian")
    _flags.add_conditioning(add, "none")
    add("--code-channels", type=_flags.positive, default=128, help="features at each place of a conv_ae's code")
    add("--width", type=_flags.positive, default=32, help="size of the networks, where it is not tuned")
    add("--learning-rate", type=_flags.not_negative, default=3e-3, help="peak, where it is not tuned")
    add("--image-size", type=_flags.image_size, metavar="SIZE", help="scale and centre-crop to 64, or 45x61 (H x W)")
    add("--batch-size", type=_flags.positive, default=64, help="images a step")
    add("--flip", action="store_true", help="mirror half of the training images left to right, others each epoch")
    add("--precision", choices=_flags.PRECISIONS, default="float32", help="of the computation")
    add("--seed", type=_flags.seed, default=0, help="of the search, weights, shuffling and noise")
    add = parser.add_argument_group("files").add_argument
    add("--run-dir", type=Path, metavar="DIR", help="the search's folder (default: runs/tune-MODEL-NAME-BACKEND)")
    add("--output", type=Path, metavar="FILE", help="the best model (default: model.keras in that folder)")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    _environment.restart_with_allocator()
    space = _space(parse, args)
    args.run_dir = args.run_dir or Path("runs") / f"tune-{args.model}-{Path(args.dataset).name}-{args.backend}"
    args.output = args.output or args.run_dir / "model.keras"
    finished = args.output.exists()
    if not finished:
        _runs.check_output(parse, args)
        if args.output.with_suffix(".md").exists():
            parse.error(f"{args.output.with_suffix('.md')} exists already; choose another place with --output")
    _environment.set_environment(parse, args.backend)
    flags = {name: value for name, value in _runs.plain(args).items() if name not in ANEW}
    _runs.open_search(parse, args.run_dir, flags, wait=_workers.is_worker())
    dataset = _training.load(args)
    try:
        if args.workers > 1 and not (_workers.role() or finished):
            _workers.run(args.workers, args.run_dir)
        search = _trials.search(args, space, dataset)
        if _workers.is_worker():
            search.search()
            return
        with _runs.lock(args.run_dir):
            if not finished:
                if not _workers.role():
                    print(f"{args.search} search in {args.run_dir}", flush=True)
                search.search()
            if _workers.role():  # the chief
                return
            _trials.report(args, search, dataset)
            if finished:
                print(f"{args.output} is there already")
            else:
                _trials.finish(args, search)
    except KeyboardInterrupt:
        print("\nthe same command goes on", file=sys.stderr)
        raise


def _space(parse, args) -> dict:
    """Name -> list of choices, or (low, high)."""
    given = {flag for flag in TUNED if getattr(args, flag)}
    if wrong := given & OTHER[args.model]:
        parse.error(f"a {args.model} has no {', '.join(sorted(wrong))}; leave it out")
    flag, default = DEFAULT[args.model]
    if not given:
        setattr(args, flag, default)
    space = {}
    for flag, (name, kind) in TUNED.items():
        if text := getattr(args, flag):
            try:
                space[name] = _flags.choices(text, kind)
            except argparse.ArgumentTypeError as error:
                parse.error(f"--{flag.replace('_', '-')}: {error}")
    return space


if __name__ == "__main__":
    _flags.run(main)
