"""Finds how many latent features are worth having, with KerasTuner, and shows why.

python train/tune.py --dataset cifar10 --latent-dims 16,32,64 --max-epochs 5
python train/tune.py --model conv_ae --code-sizes 2,4 --widths 16,32 --workers 2
"""

import math
import shlex
import sys
from functools import partial
from pathlib import Path

import _environment
import _flags
import _run
import _types

OF = {"latent_dim": "of a VAE", "code_size": "of a conv_ae", "width": "", "learning_rate": ""}
OF |= dict.fromkeys(("beta", "network", "latent", "prior", "objective", "regularizer"), "of a VAE")
MAY_CHANGE = ("data_dir", "cache_dir", "workers", "time_limit", "output", "run_dir")  # when a search is resumed


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_backend(parser)
    add = parser.add_argument_group("what is tuned: choices, as 8,16,32, or a range, as 8:256").add_argument
    add("--model", choices=("vae", "conv_ae"), default="vae", help="or a convolutional autoencoder that reconstructs")
    for name, model in OF.items():
        add(f"--{name.replace('_', '-')}s", metavar="LIST", help=f"{name.replace('_', ' ')}s {model}")
    add = parser.add_argument_group("search").add_argument
    add("--search", default="grid", help="grid (all combinations), random, bayesian or hyperband")
    add("--trials", type=_types.positive, default=20, help="of random and bayesian, at most")
    add("--max-epochs", type=_types.positive, default=10, help="passes over the training images in a trial")
    add("--patience", type=_types.positive, help="epochs without a lower validation loss that end a trial")
    add("--time-limit", type=_types.seconds, metavar="TIME", help="30m or 2h, after which no trial is begun")
    add(
        "--workers",
        type=_types.processes,
        default=1,
        help="processes that run trials, each on its share of the cores, and on a GPU where there are some",
    )
    _flags.add_data(parser, "shapes", training=True)
    add = parser.add_argument_group("model and training, where they are not tuned").add_argument
    add("--likelihood", default="squared_error", help="of a VAE, for all trials: squared_error, gaussian or bernoulli")
    add("--binarize", action="store_true", help="draw grey pixels as 0 or 1, anew in each epoch, for bernoulli")
    _flags.add_conditioning(add, "none")
    add("--code-channels", type=_types.features, default=128, help="features at each place of a conv_ae's code")
    add("--width", type=_types.features, help="features of dense layers, or a quarter of the last convolution's")
    _flags.add_computation(add)
    add = parser.add_argument_group("files").add_argument
    add("--run-dir", type=Path, metavar="DIR", help="the search's folder (default: runs/tune-MODEL-NAME-BACKEND)")
    add("--output", type=Path, metavar="FILE", help="the best model (default: model.keras in that folder)")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    _environment.restart_with_allocator()
    folder = args.run_dir or Path("runs") / f"tune-{args.model}-{Path(args.dataset).name}-{args.backend}"
    output = args.output or folder / "model.keras"
    _environment.set_environment(parse, args.backend)
    from keras_ae import runs, tuning

    space = tuning.parse_space(args.model, {name: getattr(args, f"{name}s") for name in OF})
    if not output.exists():
        runs.check_output(output, card=True)
    flags = runs.plain(vars(args), without=MAY_CHANGE)
    runs.open_search(folder, flags, wait=tuning.workers.is_worker())
    dataset = _flags.load(args)
    names = ("width", "learning_rate", "batch_size", "conditioning", "precision", "seed", "likelihood", "code_channels")
    build, objective, task = tuning.builder(args.model, **{name: getattr(args, name) for name in names})
    command = shlex.join(["python", "train/tune.py", *sys.argv[1:]])
    with _run.resumable(lambda: command):
        history = tuning.tune(
            build,
            space,
            dataset,
            folder,
            output=output,
            load_all=partial(_flags.load, args, limit=None),
            workers=args.workers,
            metadata={"flags": flags},
            epochs=args.max_epochs,
            method=args.search,
            trials=args.trials,
            objective=objective,
            patience=args.patience,
            time_limit=args.time_limit or math.inf,
            seed=args.seed,
            fit={"batch_size": args.batch_size, "seed": args.seed, "flip": args.flip, "task": task},
        )
    if history:
        _run.report(history, output, args, f"with a card, and in {folder}: trials.csv, plots")


if __name__ == "__main__":
    _flags.run(main)
