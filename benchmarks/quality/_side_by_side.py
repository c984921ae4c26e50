"""What `generators.py` and `sharpness.py` share: their flags, what looks at the images, and the picture."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from _setup import flags, load, parser, prepare

SHOWN = 12


def compared(text: str, *, files: str, count: str) -> flags.Parser:
    """The parser of their flags.

    Args:
        text: the docstring of the benchmark.
        files, count: what these flags are of.
    """
    parse = parser(text, "cifar10")
    parse.add_argument("files", nargs="+", type=Path, metavar="FILE", help=files)
    parse.add_argument("--names", nargs="+", metavar="NAME", help="of the rows (default: the files')")
    parse.add_argument("--count", type=flags.positive, default=10_000, help=count)
    parse.add_argument("--features", type=Path, metavar="FILE", help="the network that looks")
    parse.add_argument("--output", type=Path, metavar="FILE", help="a picture")
    return parse


def opened(parse: flags.Parser):
    """The flags, the data set, and the network that looks."""
    args = parse.parse_args()
    args.names = args.names or [file.stem for file in args.files]
    prepare(parse, args.backend)
    from keras_ae.evaluation import feature_networks

    dataset = load(args.dataset, args, limit=args.limit)
    return args, dataset, feature_networks.open_network(args.features, args.cache_dir)


def save(path: Path | None, shown: dict[str, np.ndarray]) -> None:
    """The picture of `SHOWN` images by name, a row each, where a path is given."""
    from keras_ae import pictures

    if path:
        pictures.grid(np.stack(list(shown.values())), list(shown)).save(path)


def energy(images: np.ndarray) -> float:
    """Of the differences between neighbouring pixels."""
    return sum(float(np.square(np.diff(images, axis=axis)).mean()) for axis in (1, 2))
