"""SavedModel: a folder for each graph, which TensorFlow and TensorFlow Serving run."""

from pathlib import Path

import keras
import numpy as np

from keras_ae.errors import InputError
from keras_ae.exports.graphs import Graph

SUFFIX = ""
PACKAGES = ()
DESCRIPTION = "SavedModel"


def write(graph: Graph, path: Path, weights: str) -> None:
    """Writes the graph, whose endpoint is `serve`."""
    if weights != "float32":
        raise InputError(f"weights of a SavedModel are float32; leave out {weights}, or take the format onnx")
    graph.model.export(path, format="tf_saved_model", verbose=False)


def runner(path: Path):
    """What computes the outputs of a folder: inputs by name -> a list."""
    layer = keras.layers.TFSMLayer(path, call_endpoint="serve")
    return lambda inputs: [np.asarray(x) for x in keras.tree.flatten(layer(list(inputs.values())))]


def python(graph: Graph) -> str:
    """An example."""
    lines = ["import numpy as np, tensorflow as tf", f'{graph.name} = tf.saved_model.load("{graph.name}")']
    for tensor in graph.model.inputs:
        lines.append(f'{tensor.name} = np.zeros({(2, *tensor.shape[1:])}, "{tensor.dtype}")')
    names = ", ".join(tensor.name for tensor in graph.model.inputs)
    (output,) = graph.model.output_names
    return "\n".join([*lines, f"{output} = {graph.name}.serve([{names}])", f"print({output}.shape)"])
