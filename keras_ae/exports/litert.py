"""LiteRT: a .tflite file for each graph, for phones and small devices."""

from pathlib import Path

from keras_ae.errors import InputError
from keras_ae.exports.graphs import Graph

SUFFIX = ".tflite"
PACKAGES = ("ai_edge_litert",)
DESCRIPTION = "LiteRT"


def write(graph: Graph, path: Path, weights: str) -> None:
    """Writes the graph, whose outputs are `output_0`, `output_1` in their order."""
    from keras_ae.backends import _tensorflow_lite

    settings = _tensorflow_lite.HALF if weights == "float16" else {}
    try:
        graph.model.export(path, format="litert", verbose=False, **settings)
    except Exception as error:  # whatever the converter meets in a layer of anyone's own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150]
        raise InputError(f"the {graph.name} does not become LiteRT ({reason})") from error


def runner(path: Path):
    """What computes the outputs of a file: inputs by name -> a list."""
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(str(path), num_threads=1).get_signature_runner()

    def run(inputs: dict) -> list:
        outputs = signature(**inputs)
        return [outputs[f"output_{number}"] for number in range(len(outputs))]

    return run


def python(graph: Graph) -> str:
    """An example."""
    lines = ["import numpy as np", "from ai_edge_litert.interpreter import Interpreter"]
    lines.append(f'{graph.name} = Interpreter("{graph.name}.tflite").get_signature_runner()')
    for tensor in graph.model.inputs:
        lines.append(f'{tensor.name} = np.zeros({(2, *tensor.shape[1:])}, "{tensor.dtype}")')
    inputs = ", ".join(f"{tensor.name}={tensor.name}" for tensor in graph.model.inputs)
    (output,) = graph.model.output_names
    return "\n".join([*lines, f'{output} = {graph.name}({inputs})["output_0"]', f"print({output}.shape)"])
