"""What all benchmarks share: the modules of train/, the parser of their flags, and the environment."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.extend([str(Path(__file__).parents[1] / "train"), str(Path(__file__).parent / "speed")])

import _environment as environment
import _flags as flags

ROOT = Path(__file__).parents[1]


def parser(text: str, dataset: str | None = None) -> flags.Parser:
    """The parser of a benchmark's flags.

    Args:
        text: the docstring of the benchmark: what it measures, its command, how it measures.
        dataset: of a benchmark on images of a data set: the default of `--dataset`. It gets `--backend`, too.
    """
    what, command, *how = text.strip().split("\n\n")
    parser = flags.Parser(f"{what}\n\n{command}")
    parser.description = "\n\n".join([what, *how])
    if dataset:
        flags.add_backend(parser)
        flags.add_data(parser, dataset)
    return parser


def add_places(parser: flags.Parser) -> None:
    """Of a benchmark on a fixed data set."""
    parser.add_argument("--data-dir", metavar="DIR", help="where prepared tensorflow-datasets are")
    parser.add_argument("--cache-dir", metavar="DIR", help="where decoded images are kept")


def prepare(parser: flags.Parser, backend: str | None, *, images: bool = True) -> None:
    """Sets what the frameworks read when they are imported, the same for all contenders.

    Args:
        backend: Keras's. `None` for a loop without Keras, which is not imported here: it would count for the loop's
            memory.
        images: whether `load` is called next. TensorFlow, which tensorflow-datasets needs, can be imported until then.
    """
    if backend:
        environment.set_environment(parser, backend)
    else:
        os.environ["KERAS_BACKEND"] = "torch"
        environment.set_variables(compiled=Path(tempfile.gettempdir()) / "keras_ae-benchmarks-jax")
    if not images:
        _forget_tensorflow()


def load(name: str, args, **kwargs):
    """The data set of that name, in the places that the flags name."""
    from keras_ae import data

    dataset = data.load(name, data_dir=args.data_dir, cache_dir=args.cache_dir, **kwargs)
    _forget_tensorflow()
    return dataset


def _forget_tensorflow() -> None:
    """Keras and pythae would import it for nothing."""
    environment.forget_tensorflow(os.environ["KERAS_BACKEND"])
