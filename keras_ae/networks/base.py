"""What the families of networks share: labels, shapes of codes, and the heads of encoders."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import layers

from keras_ae.errors import InputError, one_of
from keras_ae.latents import Gaussian

CONDITIONINGS = ("none", "decoder", "both")
HEADS = Gaussian.heads


class Family(NamedTuple):
    """The encoder and decoder of a family, functions with the arguments of `build_encoder` and `build_decoder`.

    >>> from keras_ae.networks import NETWORKS
    >>> NETWORKS["mlp"].decoder((8, 8, 1), 2).output_shape
    (None, 8, 8, 1)
    """

    encoder: Callable[..., keras.Model]
    decoder: Callable[..., keras.Model]


def conditioned_classes(conditioning: str, num_classes: int) -> tuple[int | None, int | None]:
    """How many classes encoder and decoder are given: `None` where the label is not an input.

    Raises:
        InputError: an unknown conditioning, or labels wanted without classes.

    >>> conditioned_classes("decoder", 10)
    (None, 10)
    """
    one_of(conditioning, CONDITIONINGS, "conditioning")
    if conditioning != "none" and num_classes < 1:
        raise InputError(f"conditioning '{conditioning}' needs classes, and the data has none; use 'none'")
    return (num_classes if conditioning == "both" else None, num_classes if conditioning != "none" else None)


def code_shape(latent_dim: int | tuple[int, ...], image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """(latents,) or (height, width, channels) of a code.

    Raises:
        InputError: it is neither, a side is below 1, or it is larger than the image.
    """
    shape = (latent_dim,) if isinstance(latent_dim, int) else tuple(latent_dim)
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise InputError(f"a code of the shape {shape} is not possible; give a number, or (height, width, channels)")
    if len(shape) == 3 and any(code > image for code, image in zip(shape[:2], image_shape, strict=False)):
        raise InputError(f"a code of {shape[0]}x{shape[1]} places is larger than the image of {image_shape[:2]}")
    return shape


def label_input(num_classes: int | None) -> list:
    """The label as an input, or none."""
    return [] if num_classes is None else [keras.Input((), dtype="int32", name="label")]


def heads(x, code: tuple[int, ...], kernels: dict[str, str]) -> list:
    """Features (batch, n) -> a code for each head, from dense layers."""
    # float32 whatever the policy: the exponential of a half-precision log-variance is not accurate enough
    outputs = [
        layers.Dense(math.prod(code), dtype="float32", kernel_initializer=kernel, name=name)(x)
        for name, kernel in kernels.items()
    ]
    return outputs if len(code) == 1 else [layers.Reshape(code, dtype="float32")(output) for output in outputs]
