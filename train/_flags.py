"""What the scripts share: argument types and groups, what they print, and endings of one line."""

import argparse
import os
import signal
import sys
from pathlib import Path

import _environment
import _resume
from _environment import BACKENDS
from _streams import patient, printable
from _types import devices, image_size, interval, not_negative, positive, seed, whole

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
# Of what is too large for a machine, whichever backend says it
TOO_MUCH = ("not enough memory", "can't allocate", "out of memory", "RESOURCE_EXHAUSTED", "OOM when", "overflow")
SMALLER = "make what the flags ask for smaller: images, their number, the batch or the model"


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the defaults that say something, and N for a whole number, X for any."""

    def _get_help_string(self, action):
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)

    def _get_default_metavar_for_optional(self, action):
        return getattr(action.type, "metavar", "NAME")


class Parser(argparse.ArgumentParser):
    """Grouped help of a script's docstring: what it does, and examples. A mistake is one line and exit code 2."""

    def __init__(self, text: str):
        description, _, examples = text.strip().partition("\n\n")
        epilog = "\n  ".join(["examples:", *examples.splitlines()])
        super().__init__("", "%(prog)s [flags]", description, epilog, formatter_class=Formatter, allow_abbrev=False)
        self.prog = Path(sys.argv[0]).name
        self.source = ""  # of the arguments, where they are not the command line's

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {printable(self.source + message)}\n")


def add_backend(parser: Parser, *, several: bool = False) -> None:
    """`several`: whether it computes on several devices."""
    default, what = os.environ.get("KERAS_BACKEND", "tensorflow"), "engine of Keras; KERAS_BACKEND sets the default"
    parser.add_argument("--backend", choices=BACKENDS, default=default, help=what)
    if several:
        how = "how many of this machine's (default: all); on torch, torchrun --nproc-per-node N instead of python"
        parser.add_argument("--devices", type=devices, help=how)


def add_file(parser: Parser) -> None:
    parser.usage = "%(prog)s FILE [flags]"
    parser.add_argument("file", type=Path, metavar="FILE", help="a .keras file written by the training scripts")
    parser.add_argument("--trust", action="store_true", help="load layers that are not known, too; their code may run")
    parser.add_argument(
        "--max-memory", type=positive, metavar="MIB", default=1024, help="that one image may take in it"
    )


def add_data(parser: Parser, dataset: str | None, *, training: bool = False) -> None:
    add = parser.add_argument_group("data").add_argument
    names = "shapes; a folder of images, flat or one subfolder per class; cifar10, stl10, mnist, fashion_mnist or any "
    names += "other image-classification set of tensorflow-datasets" + ("" if dataset else " (default: the file's)")
    add("--dataset", default=dataset, help=names)
    if training:
        add("--image-size", type=image_size, metavar="SIZE", help="scale and centre-crop to 64, or 45x61 (H x W)")
        add("--flip", action="store_true", help="mirror half of the training images left to right, others each epoch")
    if training:
        add("--validation", type=whole, help="so many of the training images validate, 0 too (default: 1 in 20)")
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


def add_training(parser: Parser, name: str):
    """Of one training, whose folder is runs/`name`-... Returns what adds a flag to the first group."""
    add = training = parser.add_argument_group("training").add_argument
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
    return training


def training_arguments(parser: Parser) -> argparse.Namespace:
    """The flags, or those of the run that is resumed. After this keras_ae may be imported."""
    args = parser.parse_args()
    _environment.restart_with_allocator()
    if args.resume:
        _resume.check_arguments(parser, args)
    elif args.smoke:
        args.limit, args.epochs, args.batch_size = 80, 1, 32
    _environment.set_environment(parser, args.backend, args.devices)
    from keras_ae import runs

    if args.output and not (args.resume and args.output.exists()):
        runs.check_output(args.output)
    if args.resume:
        _resume.take_flags(parser, args)
    return args


def open_file(args):
    """The saved model that the flags name, on all devices."""
    from keras_ae import backends, open_model

    with backends.replicated():
        return open_model(args.file, trust=args.trust, memory=args.max_memory * 2**20)


def load(args, **changes):
    """The data set that the flags name."""
    from keras_ae import data

    names = ("image_size", "data_dir", "cache_dir", "limit", "validation")
    dataset = data.load(args.dataset, **{name: getattr(args, name) for name in names} | changes)
    dataset = dataset.binarized() if getattr(args, "binarize", False) else dataset
    dataset = dataset.dequantized() if getattr(args, "dequantize", False) else dataset
    _environment.forget_tensorflow(args.backend)
    return dataset


def run(main) -> None:
    """Calls `main`. What a user can fix, and an interruption, end in one line; a lost reader ends nothing."""
    try:
        with patient():
            _report(main)
    except OSError as error:  # what was printed is lost
        _end(f"error: {error}", 2)


def _report(main) -> None:
    try:
        main()
    except KeyboardInterrupt as stopped:
        _end("stopped", 128 + getattr(stopped, "number", signal.SIGINT), told=not is_first())
    except Exception as error:
        # By name: the class is in keras_ae, which must not be imported for --help.
        name = type(error).__name__
        if isinstance(error, OSError) or name == "InputError":
            _end(f"error: {error}", 2, told=getattr(error, "is_told", False))
        if name == "NotFiniteError":
            _end(f"error: {error}", 1, told=not is_first())
        if name == "LostError":
            _end(f"error: {error}", 1, at_once=True)
        if _is_lost(error):
            _end("error: another process has ended, and so this one does", 1, at_once=True)
        if _is_too_much(error):
            reason = str(error).strip().split("\n")[0][:150] or type(error).__name__
            _end(f"error: this cannot be computed ({reason}); {SMALLER}", 2)
        raise


def _is_lost(error: Exception) -> bool:
    backends = sys.modules.get("keras_ae.backends")
    return backends is not None and backends.is_lost(error)


def _is_too_much(error: Exception) -> bool:
    kinds = (MemoryError, OverflowError, RecursionError, NotImplementedError)
    return isinstance(error, kinds) or any(words in str(error) for words in TOO_MUCH)


def _end(message: str, code: int, *, told: bool = False, at_once: bool = False) -> None:
    """Ends with a line, unless another process has told it; `at_once` without a farewell to the others."""
    if not told:
        print(f"{Path(sys.argv[0]).name}: {printable(message)}", file=sys.stderr, flush=True)
    if at_once:
        os._exit(code)
    sys.exit(code)


def check_one_process() -> None:
    """Raises an `InputError` where a launcher has started several."""
    from keras_ae import InputError, backends

    if backends.world().processes > 1:
        raise InputError("pictures are made by one process, on all of its devices; start it without a launcher")


def is_first() -> bool:
    """Of several processes. Before they have met, and on --help, each is."""
    backends = sys.modules.get("keras_ae.backends")
    return backends is None or backends.is_first()
