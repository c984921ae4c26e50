"""ONNX: a file for each graph, which ONNX Runtime runs in many languages and in browsers."""

import logging
import math
import warnings
from pathlib import Path

import numpy as np

from keras_ae.errors import InputError
from keras_ae.exports.graphs import Graph

SUFFIX = ".onnx"
PACKAGES = ("onnx", "tf2onnx", "onnxruntime")
OPSET = 18
DESCRIPTION = f"ONNX, opset {OPSET}"
ARRAYS = {"float32": "Float32Array", "int32": "Int32Array", "uint8": "Uint8Array"}  # of JavaScript
HALF_FROM = 128  # numbers: smaller weights are not worth a conversion


def write(graph: Graph, path: Path, weights: str) -> None:
    """Writes the graph with its own names of inputs and outputs."""
    import onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of what Keras changes in tf2onnx
        try:
            graph.model.export(path, format="onnx", opset_version=OPSET, verbose=False)
        except Exception as error:  # whatever tf2onnx meets in a layer of anyone's own
            raise InputError(f"the {graph.name} does not become ONNX ({_first_line(error)})") from error
    made = onnx.load(path)
    _without_erfc(made.graph)
    operations = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    for node in made.graph.node:
        if node.op_type not in operations:
            raise InputError(f"the layer {_layer(graph, node.name)} computes {node.op_type}, which ONNX does not know")
    _rename(made.graph, graph)
    if weights == "float16":
        _halve(made.graph)
    made.producer_name, made.doc_string = "keras_ae", f"{graph.name} of an autoencoder"
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, path)


def runner(path: Path):
    """What computes the outputs of a file: inputs by name -> a list."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)


def python(graph: Graph) -> str:
    """An example."""
    lines = ["import numpy as np, onnxruntime", f'{graph.name} = onnxruntime.InferenceSession("{graph.name}.onnx")']
    for tensor in graph.model.inputs:
        shape = (2, *tensor.shape[1:])
        lines.append(f'{tensor.name} = np.zeros({shape}, "{tensor.dtype}")')
    names = [tensor.name for tensor in graph.model.inputs]
    inputs = ", ".join(f'"{name}": {name}' for name in names)
    (output,) = graph.model.output_names
    lines += [f"({output},) = {graph.name}.run(None, {{{inputs}}})", f"print({output}.shape)"]
    return "\n".join(lines)


def javascript(graph: Graph) -> str:
    """The same, for onnxruntime-web or onnxruntime-node."""
    lines = ['import * as ort from "onnxruntime-web";']
    lines.append(f'const {graph.name} = await ort.InferenceSession.create("{graph.name}.onnx");')
    for tensor in graph.model.inputs:
        shape = [2, *tensor.shape[1:]]
        array = ARRAYS[tensor.dtype]
        lines.append(
            f'const {tensor.name} = new ort.Tensor("{tensor.dtype}", new {array}({math.prod(shape)}), {shape});'
        )
    names = ", ".join(tensor.name for tensor in graph.model.inputs)
    (output,) = graph.model.output_names
    lines += [f"const {{ {output} }} = await {graph.name}.run({{ {names} }});", f"console.log({output}.dims);"]
    return "\n".join(lines)


def _rename(made, graph: Graph) -> None:
    """Gives inputs, outputs and the batch the names that the model has for them."""
    names = {value.name: name for value, name in zip(made.output, graph.model.output_names, strict=True)}
    for node in made.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*made.input, *made.output):
        value.name = names.get(value.name, value.name)
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _without_erfc(made) -> None:
    """Writes erfc(x), of which TensorFlow makes the GELU, as 1 - erf(x)."""
    from onnx import helper, numpy_helper

    for place, node in reversed(list(enumerate(made.node))):
        if node.op_type == "Erfc":
            one, erf = f"{node.name}_one", f"{node.name}_erf"
            made.initializer.append(numpy_helper.from_array(np.array(1, "float32"), one))
            made.node.insert(place + 1, helper.make_node("Sub", [one, erf], node.output))
            made.node.insert(place + 1, helper.make_node("Erf", node.input, [erf]))
            made.node.remove(node)


def _halve(made) -> None:
    """Keeps matrices as float16 and computes with them as float32, which a runtime makes of them when it starts."""
    from onnx import helper, numpy_helper

    casts = []
    for tensor in made.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == "float32" and values.ndim > 1 and values.size >= HALF_FROM:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=1))
    for place, cast in enumerate(casts):
        made.node.insert(place, cast)


def _layer(graph: Graph, node: str) -> str:
    """The model's name of the layer that a node belongs to."""
    names = {layer.name for layer in graph.model._flatten_layers(include_self=False)}
    parts = [part for part in node.split("/") if part.rsplit("_", 1)[0] in names or part in names]
    return parts[-1] if parts else node


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:150]
