"""What the scripts share: flags, the environment that must be set before Keras is imported, and endings."""

import argparse
import os
import signal
import sys
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
UNITS = {"s": 1, "m": 60, "h": 3600}
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")

# Never unmapped, never given back, huge pages
ALLOCATOR = f"glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={2**40}:glibc.malloc.hugetlb=1"


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action):
        return action.help if action.default in (None, False) else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Grouped help with defaults; a mistake is one line and exit code 2."""

    def __init__(self, **kwargs):
        super().__init__(formatter_class=Formatter, allow_abbrev=False, **kwargs)

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def add_backend(parser: Parser) -> None:
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=os.environ.get("KERAS_BACKEND", "tensorflow"),
        help="what Keras computes with (KERAS_BACKEND changes the default)",
    )


def add_file(parser: Parser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a .keras file written by the training scripts")
    parser.add_argument(
        "--trust", action="store_true", help="load the file even if it holds layers of its own, whose code may run"
    )


def add_data(parser: Parser, dataset: str | None) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset",
        default=dataset,
        metavar="NAME",
        help="shapes; a folder of images, flat or one subfolder per class; or cifar10, stl10, mnist, fashion_mnist "
        "and every other image-classification set of tensorflow-datasets"
        + ("" if dataset else " (default: the file's)"),
    )
    group.add_argument("--data-dir", metavar="DIR", help="where prepared tensorflow-datasets lie (TFDS_DATA_DIR)")
    group.add_argument("--cache-dir", metavar="DIR", help="where decoded images are kept (KERAS_HOME/keras_ae)")
    group.add_argument("--limit", type=positive, metavar="N", help="use only the first N images of each split")


def add_conditioning(add, default: str) -> None:
    add(
        "--conditioning",
        default=default,
        help="who sees the label: none, decoder or both" + (" (none without classes)" if default != "none" else ""),
    )


def add_corruption(add, what: str) -> None:
    add(
        "--corruption",
        metavar="KIND:N",
        help=f"{what}: gaussian:25/255, salt_and_pepper:0.1, block:8, centre:0.25 (below 1: a share of the side), "
        "half, pixels:0.5; a range like pixels:0.2-0.8; or several joined by commas, one for each image",
    )


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return number


def seconds(text: str) -> int:
    """30s, 5m or 2h."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isdigit() or int(number) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; give e.g. 30s, 5m or 2h")
    return int(number) * UNITS[unit]


def interval(text: str) -> dict[str, int]:
    """A time, or a number of steps."""
    if text.isdigit() and int(text) > 0:
        return {"steps": int(text)}
    return {"seconds": seconds(text)}


def choices(text: str, kind: type) -> list | tuple:
    """Of "8,16,32" the list of numbers, of "8:256" the pair."""
    try:
        numbers = [kind(each) for each in text.replace(":", ",").split(",")]
    except ValueError:
        numbers = []
    if not numbers or (":" in text and (len(numbers) != 2 or not 0 < numbers[0] < numbers[1])):
        raise argparse.ArgumentTypeError(f"'{text}' are no choices, as 8,16,32, and no range from above 0, as 8:256")
    return tuple(numbers) if ":" in text else numbers


def seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a seed: a whole number from 0 up")
    return number


def image_size(text: str) -> tuple[int, int]:
    """64 or 45x61: (height, width)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is no image size; give e.g. 64, or 45x61 (height x width)")
    return int(sides[0]), int(sides[-1])


def run(main) -> None:
    """Calls `main`; what a user can mend, and an interruption, end in one line."""
    try:
        main()
    except KeyboardInterrupt as stopped:
        _end("stopped", 128 + getattr(stopped, "number", signal.SIGINT))
    except Exception as error:
        # By name: the class lives in keras_ae, which must not be imported for --help.
        if isinstance(error, OSError) or type(error).__name__ == "InputError":
            _end(f"error: {error}", 2)
        if type(error).__name__ == "NotFiniteError":
            _end(f"error: {error}", 1)
        raise


def _end(message: str, code: int) -> None:
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(code)


def measure(model, batches) -> dict[str, float]:
    """What `evaluate` gives, by name, as plain numbers."""
    results = model.evaluate(batches, return_dict=True, verbose=0)
    return {name: float(value) for name, value in results.items()}


def table(title: str, rows: dict) -> None:
    """Prints names and values in two columns."""
    width = max(len(name) for name in rows)
    print(f"\n{title}")
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value:.5g}" if isinstance(value, float) else f"  {name:<{width}}  {value}")
