"""Whether a `.keras` file is safe to load: files come from strangers, too, and Keras builds what their config names.

Everything is looked at before anything is built. What is not known is refused: members of the archive, classes, names
of functions, links inside the weights, weights that the file does not hold, and images larger than memory.
"""

import zipfile

from keras_ae.trust.archive import (
    CONFIG,
    METADATA,
    WEIGHTS,
    RefusedError,
    check_members,
    count_numbers,
    read_json,
)
from keras_ae.trust.configs import check_config
from keras_ae.trust.sizes import check_sizes

MEMORY = 2**30  # bytes that one image may take in a model

__all__ = ["CONFIG", "MEMORY", "METADATA", "WEIGHTS", "RefusedError", "check", "read_json"]


def check(archive: zipfile.ZipFile, memory: int = MEMORY) -> None:
    """Returns if the file holds nothing but what this package writes and stock Keras layers.

    Args:
        memory: bytes that one image may take in the model.

    Raises:
        RefusedError: anything else is in it.
        Exception: it is damaged.
    """
    check_members(archive)
    config = read_json(archive, CONFIG)
    numbers = count_numbers(archive)
    config.pop("compile_config", None)  # not loaded
    check_config(config)
    check_sizes(config, numbers, memory)
