"""Dense networks of two hidden layers, plain and gated."""

import math
from functools import partial

import keras
from keras import layers

from keras_ae.layers import with_label
from keras_ae.networks.base import HEADS, Family, code_shape, heads, label_input


def build_encoder(
    image_shape: tuple[int, int, int],
    latent_dim: int | tuple[int, int, int],
    *,
    num_classes: int | None = None,
    width: int = 200,
    gated: bool = False,
    kernels: dict[str, str] = HEADS,
) -> keras.Model:
    """As `networks.conv.build_encoder`, of two hidden layers with `width` features.

    Args:
        gated: each layer is a linear one times the sigmoid of another (Dauphin et al. 2017, equation 1), and not tanh.

    >>> build_encoder((28, 28, 1), 50).count_params()  # the network of Burda et al. 2016, section 5
    217300
    """
    code = code_shape(latent_dim, image_shape)
    image, labels = keras.Input(image_shape, name="image"), label_input(num_classes)
    x = layers.Flatten()(image)
    x = _hidden(x, labels, num_classes, width, gated)
    return keras.Model([image, *labels] if labels else image, heads(x, code, kernels), name="encoder")


def build_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int | tuple[int, int, int],
    *,
    num_classes: int | None = None,
    width: int = 200,
    gated: bool = False,
    output_bias: float = 0.5,
) -> keras.Model:
    """As `networks.conv.build_decoder`, of two hidden layers with `width` features.

    >>> build_decoder((28, 28, 1), 50).output_shape
    (None, 28, 28, 1)
    """
    code = code_shape(latent_dim, image_shape)
    z, labels = keras.Input(code, name="z"), label_input(num_classes)
    x = z if len(code) == 1 else layers.Flatten()(z)
    x = _hidden(x, labels, num_classes, width, gated)
    bias = keras.initializers.Constant(output_bias)
    x = layers.Dense(math.prod(image_shape), dtype="float32", bias_initializer=bias, name="output")(x)
    x = layers.Reshape(image_shape, dtype="float32")(x)
    return keras.Model([z, *labels] if labels else z, x, name="decoder")


def _hidden(x, labels, num_classes, width: int, gated: bool):
    if labels:
        x = with_label(x, labels[0], num_classes)
    for _ in range(2):
        x = gated_layer(x, width) if gated else layers.Dense(width, activation="tanh")(x)
    return x


def gated_layer(x, width: int):
    """A gated layer."""
    return layers.Multiply()([layers.Dense(width)(x), layers.Dense(width, activation="sigmoid")(x)])


MLP = Family(build_encoder, build_decoder)
GATED = Family(*(partial(build, gated=True, width=300) for build in MLP))
