"""An exported file gives what the model gives, or it is not kept."""

import importlib.util

import keras
import numpy as np

from keras_ae.errors import InputError
from keras_ae.exports.graphs import Graph

BATCHES = (1, 3, 7)
TOLERANCES = {"float32": 1e-5, "float16": 2e-3}  # of the largest number, or of 1 where all are smaller
FLIPPED = {"float32": 0.01, "float16": 0.05}  # the share of tokens that may be another where a number lies between two


def check(graph: Graph, run, weights: str) -> float:
    """Compares what `run` makes of random inputs with what the model makes of them.

    Args:
        run: inputs by name -> a list of outputs.
        weights: "float32" or "float16".

    Returns:
        The largest difference of a number that is not whole.

    Raises:
        InputError: they differ.
    """
    random = np.random.default_rng(1)
    largest = 0.0
    for n in BATCHES:
        inputs = graph.random_inputs(n, random)
        expected = map(keras.ops.convert_to_numpy, keras.tree.flatten(graph.model(inputs)))
        for name, own, other in zip(graph.model.output_names, expected, run(inputs), strict=True):
            difference = np.abs(own.astype("float64") - other)
            if own.dtype == "uint8":
                agrees = difference.max() <= max(1, 255 * TOLERANCES[weights])  # where a number is rounded up or down
            elif own.dtype == "int32":
                agrees = (difference > 0).mean() <= FLIPPED[weights]
            else:
                agrees = difference.max() <= TOLERANCES[weights] * max(1, np.abs(own).max())
                largest = max(largest, float(difference.max()))
            if own.shape != other.shape or not agrees:
                way_out = "; take float32 weights" if weights == "float16" else ""
                raise InputError(
                    f"the exported {graph.name} differs from the model by {difference.max():.1e} in {name}, and is not "
                    f"kept{way_out}"
                )
    return largest


def check_packages(made, format: str) -> None:
    """Returns if the format, of the module `made`, can be written here.

    Raises:
        InputError: another backend, or a missing package.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"exports are made on TensorFlow, not on {keras.backend.backend()}: save the model, and give the file to "
            "train/export.py"
        )
    missing = [name for name in made.PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the format {format} needs {', '.join(missing)}: pip install -e '.[export]'")
