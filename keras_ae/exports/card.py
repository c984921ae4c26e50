"""The card of an export: inputs, outputs, and examples that run."""

import keras

import keras_ae
from keras_ae.errors import printable
from keras_ae.exports.graphs import Graph

LOOPS = {  # of a prior, by an input that only this kind has
    "time": "Start with standard normal `z`. Call it for `time` 0, 1/20, ... 19/20, each time with the `next_z` of the "
    "last call as `z`. Decode the last `code`.",
    "kept": "Start with `kept` of zeros and the last number of `token`. For each `place` from 0 on draw a code from "
    "softmax(`logits` / temperature). It is the next `token`, and `next_kept` the next `kept`.",
    "noise": "One call makes latents of random numbers.",
}
WITHOUT_PRIOR = {True: "Draw each token from all codes alike.", False: "Draw `z` from the standard normal."}
RANDOM = ("z", "noise")


def card(model: keras.Model, graphs: list[Graph], made, weights: str, differences: dict[str, float]) -> str:
    """Markdown.

    Args:
        made: the module of the format.
        differences: from the model's own outputs, the largest of each graph.
    """
    shown = next(graph for graph in reversed(graphs) if graph.name != "prior")
    parts = [
        "# " + ", ".join(f"{graph.name}{made.SUFFIX}" for graph in graphs),
        f"Written by keras_ae {keras_ae.__version__}: {made.DESCRIPTION}, {weights} weights. Batches have any size. "
        "Images are height x width x channels.",
        *(_table(graph, differences[graph.name]) for graph in graphs),
        *_drawing(graphs),
        *_classes(model),
        "## In Python",
        f"```python\n{made.python(shown)}\n```",
    ]
    if hasattr(made, "javascript"):
        parts += ["## In JavaScript", f"```js\n{made.javascript(shown)}\n```"]
    return "\n\n".join(parts) + "\n"


def _table(graph: Graph, difference: float) -> str:
    rows = [f"## {graph.name}", "", "| | name | shape | type | values |", "| --- | --- | --- | --- | --- |"]
    for kind, tensors, names in (
        ("input", graph.model.inputs, [tensor.name for tensor in graph.model.inputs]),
        ("output", graph.model.outputs, graph.model.output_names),
    ):
        for tensor, name in zip(tensors, names, strict=True):
            shape = "x".join(["batch", *map(str, tensor.shape[1:])])
            rows.append(f"| {kind} | `{name}` | {shape} | {tensor.dtype} | {graph.meaning(name, tensor.dtype)} |")
    rows += ["", f"Against Keras, on random batches: {difference:.0e} apart at most."]
    return "\n".join(rows)


def _drawing(graphs: list[Graph]) -> list[str]:
    """How samples are drawn."""
    inputs = {graph.name: [tensor.name for tensor in graph.model.inputs] for graph in graphs}
    if "prior" in inputs:
        return ["## To sample", next(text for name, text in LOOPS.items() if name in inputs["prior"])]
    if "restorer" in inputs:
        return []
    return ["## To sample", WITHOUT_PRIOR["tokens" in inputs["decoder"]]]


def _classes(model) -> list[str]:
    names = getattr(model, "class_names", [])
    if not names:
        return []
    # Names may come from a stranger: within a code block nothing is markup.
    listed = "\n".join(f"    {number} {printable(name)}" for number, name in enumerate(names))
    return ["## Labels", listed]
