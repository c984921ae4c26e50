"""How much memory a model takes, known before it takes any.

The model is built with variables that have shapes and no values, and with symbolic images. Stock layers take what
comes out of them. A class of this package says with the method `scratch` what it takes beside that:

    def scratch(self, inputs, outputs) -> int

`inputs` and `outputs` are lists of shapes, with the batch first. It returns how many numbers one image takes within, at
most. A model's own is asked with the shape of its image for both. All its weights come from `add_weight`.
"""

import math

import keras
from keras.src.backend.common import global_state

from keras_ae.trust.archive import RefusedError

BYTES = 4  # of a number
SPARE = 1000
UNINITIALIZED = "uninitialized_variables"  # Keras's list of variables that wait for their values


def check_sizes(config: dict, numbers: int, memory: int) -> None:
    """Returns if the file holds all weights of the model, and one image fits in the memory.

    Args:
        config: of the model. What it names is known.
        numbers: how many weights the file holds.
        memory: bytes.
    """
    model, variables = _built_without_values(config)
    wanted, made = (sum(math.prod(variable.shape) for variable in some) for some in (model.weights, variables))
    if wanted > numbers:
        raise RefusedError(f"its layers ask for {wanted:,} weights, and it holds {numbers:,}")
    if made > 2 * numbers + SPARE:  # metrics and seeds are in no file; nor are layers that the model does not use
        raise RefusedError(f"it makes {made:,} variables for {wanted:,} weights")
    at_once = getattr(model, "images_at_once", 1)  # of a model that draws several times for an image
    if (taken := BYTES * at_once * numbers_per_image(model)) > memory:
        raise RefusedError(
            f"one image takes {taken / 2**20:,.0f} MiB in it and {memory / 2**20:,.0f} are allowed; "
            "allow more with --max-memory (in Python memory=...)"
        )


def _built_without_values(config: dict) -> tuple[keras.Model, list]:
    """The model, and all variables that were made for it."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config)
        return model, list(global_state.get_global_attribute(UNINITIALIZED) or [])
    finally:
        global_state.set_global_attribute(UNINITIALIZED, [])  # or the next model would give them values


def numbers_per_image(model) -> int:
    """Of all layers together: what is not needed any more is not subtracted."""
    layers = _all_layers(model)
    total = sum(_of_call(layer, node) for layer in layers for node in layer._inbound_nodes)
    own = getattr(model, "image_shape", None)
    return total + (model.scratch([(None, *own)], [(None, *own)]) if own else 0)


def _all_layers(model) -> list:
    """Each layer once, also those of networks within networks."""
    return list({id(layer): layer for layer in model._flatten_layers()}.values())


def _of_call(layer, node) -> int:
    inputs, outputs = ([tensor.shape for tensor in tensors] for tensors in (node.input_tensors, node.outputs))
    within = layer.scratch(inputs, outputs) if hasattr(layer, "scratch") else 0
    return within + sum(_size(layer, shape) for shape in outputs)


def _size(layer, shape) -> int:
    """Of one image."""
    sides = [1 if side is None else side for side in shape[:1]] + list(shape[1:])
    if None in sides or min(sides, default=1) < 1:
        raise RefusedError(f"its {type(layer).__name__} makes images of no size that is known ({str(shape)[:50]})")
    return math.prod(sides)
