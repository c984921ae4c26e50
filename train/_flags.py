"""What the scripts share: argument types and groups, what they print, and endings of one line."""

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import _environment
from _environment import BACKENDS

UNITS = {"s": 1, "m": 60, "h": 3600}
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
AGAIN = ("resume", "data_dir", "cache_dir")  # what --resume is given again


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the defaults that say something, and N for a whole number, X for any."""

    def _get_help_string(self, action):
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)

    def _get_default_metavar_for_optional(self, action):
        return {positive: "N", seed: "N", int: "N", not_negative: "X"}.get(action.type, "NAME")


class Parser(argparse.ArgumentParser):
    """Grouped help of a script's docstring: what it does, and examples. A mistake is one line and exit code 2."""

    def __init__(self, text: str):
        description, _, examples = text.strip().partition("\n\n")
        epilog = "\n  ".join(["examples:", *examples.splitlines()])
        super().__init__("", "%(prog)s [flags]", description, epilog, formatter_class=Formatter, allow_abbrev=False)
        self.prog = Path(sys.argv[0]).name

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def positive(text: str) -> int:
    return _within(1, int(text), 2**63)


def not_negative(text: str) -> float:
    return _within(0, float(text), float("inf"))


def seed(text: str) -> int:
    return _within(0, int(text), 2**31)


def _within(low, number, high):
    if not low <= number < high:
        raise argparse.ArgumentTypeError(f"{number} is not a number from {low} up")
    return number


def seconds(text: str) -> int:
    """30s, 5m or 2h."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isdigit() or int(number) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time; give e.g. 30s, 5m or 2h")
    return int(number) * UNITS[unit]


def interval(text: str) -> dict[str, int]:
    """A time, or a number of steps."""
    return {"steps": int(text)} if text.isdigit() and int(text) > 0 else {"seconds": seconds(text)}


def image_size(text: str) -> tuple[int, int]:
    """64 or 45x61: (height, width)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is not an image size; give e.g. 64, or 45x61 (height x width)")
    return int(sides[0]), int(sides[-1])


def add_backend(parser: Parser) -> None:
    default, what = os.environ.get("KERAS_BACKEND", "tensorflow"), "engine of Keras; KERAS_BACKEND sets the default"
    parser.add_argument("--backend", choices=BACKENDS, default=default, help=what)


def add_file(parser: Parser) -> None:
    parser.usage = "%(prog)s FILE [flags]"
    parser.add_argument("file", type=Path, metavar="FILE", help="a .keras file written by the training scripts")
    parser.add_argument("--trust", action="store_true", help="load layers that are not known, too; their code may run")


def add_data(parser: Parser, dataset: str | None, *, training: bool = False) -> None:
    add = parser.add_argument_group("data").add_argument
    names = "shapes; a folder of images, flat or one subfolder per class; cifar10, stl10, mnist, fashion_mnist or any "
    names += "other image-classification set of tensorflow-datasets" + ("" if dataset else " (default: the file's)")
    add("--dataset", default=dataset, help=names)
    if training:
        add("--image-size", type=image_size, metavar="SIZE", help="scale and centre-crop to 64, or 45x61 (H x W)")
        add("--flip", action="store_true", help="mirror half of the training images left to right, others each epoch")
    add("--limit", type=positive, help="use only the first N images of each split")
    add("--data-dir", metavar="DIR", help="where prepared tensorflow-datasets are (TFDS_DATA_DIR)")
    add("--cache-dir", metavar="DIR", help="where decoded images are kept (KERAS_HOME/keras_ae)")


def add_conditioning(add, default: str) -> None:
    without = " (none without classes)" if default != "none" else ""
    add("--conditioning", default=default, help=f"which part sees the label: none, decoder or both{without}")


def add_corruption(add, what: str) -> None:
    kinds = "gaussian:25/255, salt_and_pepper:0.1, block:8, centre:0.25 (below 1: of the side), half, pixels:0.2-0.8"
    add("--corruption", metavar="KIND:N", help=f"{what}: {kinds}; several, with commas: one for each image")


def add_computation(add) -> None:
    """Of a training, or of each trial of a search."""
    add("--batch-size", type=positive, default=64, help="images a step")
    add("--learning-rate", type=not_negative, default=3e-3, help="peak, after a warm-up; then cosine decay to 0")
    add("--precision", choices=PRECISIONS, default="float32", help="auto: mixed_bfloat16 on devices made for it")
    add("--seed", type=seed, default=0, help="of weights, shuffling and noise")


def add_training(parser: Parser, name: str) -> None:
    """Of one training, whose folder is runs/`name`-..."""
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=positive, default=3, help="passes over the training images")
    add_computation(add)
    add("--clip-norm", type=not_negative, default=0.0, help="bound of the whole gradient's norm; 0: none")
    add("--smoke", action="store_true", help="tiny data and two steps, to see that everything runs")
    add = parser.add_argument_group("files").add_argument
    add("--resume", type=Path, metavar="RUN_DIR", help="continue a stopped run, with the flags kept in it")
    add("--start-from", type=Path, metavar="FILE", help="a saved model, to continue training its weights")
    add("--run-dir", type=Path, metavar="DIR", help=f"where the run writes (default: runs/{name}-NAME-BACKEND-TIME)")
    add("--output", type=Path, metavar="FILE", help="the trained model (default: model.keras in the run's folder)")
    every = "30s, 5m, 2h, or a number of steps; and at the end of each epoch"
    add("--checkpoint-every", type=interval, metavar="TIME", default="5m", help=every)
    add("--grid-every", type=positive, default=1, help="epochs between pictures")


def training_arguments(parser: Parser) -> argparse.Namespace:
    """The flags, or those of the run that is resumed. After this keras_ae may be imported."""
    args = parser.parse_args()
    _environment.restart_with_allocator()
    if args.resume:
        defaults = vars(parser.parse_args([]))
        if others := [name for name, value in vars(args).items() if value != defaults[name] and name not in AGAIN]:
            parser.error(f"--resume continues with the run's own flags; leave out {', '.join(sorted(others))}")
        # What is wrong with the folder, `runs.resume` says.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            args.backend = json.loads((args.resume / "config.json").read_text())["flags"]["backend"]
    elif args.smoke:
        args.limit, args.epochs, args.batch_size = 80, 1, 32
    _environment.set_environment(parser, args.backend)
    from keras_ae import runs

    if args.resume:
        again = {name: value for name in AGAIN if (value := getattr(args, name))}
        vars(args).update(runs.resume(args.resume) | again)
        args.image_size = args.image_size and tuple(args.image_size)
        args.output = args.output and Path(args.output)
    elif args.output:
        runs.check_output(args.output)
    return args


def load(args, **changes):
    """The data set that the flags name."""
    from keras_ae import data

    names = ("image_size", "data_dir", "cache_dir", "limit")
    dataset = data.load(args.dataset, **{name: getattr(args, name) for name in names} | changes)
    _environment.forget_tensorflow(args.backend)
    return dataset


def run(main) -> None:
    """Calls `main`. What a user can fix, and an interruption, end in one line."""
    try:
        main()
    except KeyboardInterrupt as stopped:
        _end("stopped", 128 + getattr(stopped, "number", signal.SIGINT))
    except Exception as error:
        # By name: the class is in keras_ae, which must not be imported for --help.
        if isinstance(error, OSError) or type(error).__name__ == "InputError":
            _end(f"error: {error}", 2)
        if type(error).__name__ == "NotFiniteError":
            _end(f"error: {error}", 1)
        raise


def _end(message: str, code: int) -> None:
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(code)
