"""Standard convolutional encoders and decoders for images of any height, width and channels."""

import math

import keras
from keras import layers

from keras_ae.errors import InputError
from keras_ae.layers import Conv2DTranspose, OneHot

CONDITIONINGS = ("none", "decoder", "both")
KERNEL = 4  # a multiple of the stride, so that the transposed convolution covers every pixel equally often


def build_encoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    num_classes: int | None = None,
    width: int = 64,
    activation: str = "silu",
) -> keras.Model:
    """The network of q(z | x[, y]): image (batch, height, width, channels)[, label (batch,)] -> z_mean, z_log_var.

    Each level halves height and width (rounded up) until the shorter side is about 4; `width` is the
    number of features two levels above the last, whose number is 4 x `width`.

    Args:
        num_classes: give it to make the label an input.
    """
    image = keras.Input(image_shape, name="image")
    inputs = [image]
    x = image
    for filters in _filters(image_shape, width):
        x = layers.Conv2D(filters, KERNEL, strides=2, padding="same", activation=activation)(x)
    x = layers.Flatten()(x)
    if num_classes is not None:
        label = keras.Input((), dtype="int32", name="label")
        inputs.append(label)
        x = layers.Concatenate()([x, OneHot(num_classes)(label)])
    # float32 whatever the policy: the exponential of a half-precision log-variance is not accurate enough
    z_mean = layers.Dense(latent_dim, dtype="float32", name="z_mean")(x)
    z_log_var = layers.Dense(latent_dim, dtype="float32", kernel_initializer="zeros", name="z_log_var")(x)
    return keras.Model(inputs if num_classes is not None else image, [z_mean, z_log_var], name="encoder")


def build_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    num_classes: int | None = None,
    width: int = 64,
    activation: str = "silu",
    output_bias: float = 0.5,
) -> keras.Model:
    """The network of p(x | z[, y]), the encoder's mirror: z (batch, latent_dim)[, label (batch,)] -> image.

    The last layer is linear and starts at `output_bias`; sizes that do not divide are cropped.
    """
    height, width_, channels = image_shape
    filters = _filters(image_shape, width)
    rows, columns = (math.ceil(side / 2 ** len(filters)) for side in (height, width_))
    z = keras.Input((latent_dim,), name="z")
    inputs = [z]
    x = z
    if num_classes is not None:
        label = keras.Input((), dtype="int32", name="label")
        inputs.append(label)
        x = layers.Concatenate()([x, OneHot(num_classes)(label)])
    x = layers.Dense(rows * columns * filters[-1], activation=activation)(x)
    x = layers.Reshape((rows, columns, filters[-1]))(x)
    for count in reversed(filters[:-1]):
        x = Conv2DTranspose(count, KERNEL, strides=2, padding="same", activation=activation)(x)
    x = Conv2DTranspose(
        channels,
        KERNEL,
        strides=2,
        padding="same",
        dtype="float32",
        bias_initializer=keras.initializers.Constant(output_bias),
        name="output",
    )(x)
    extra = (rows * 2 ** len(filters) - height, columns * 2 ** len(filters) - width_)
    if any(extra):
        x = layers.Cropping2D([(n // 2, n - n // 2) for n in extra], dtype="float32")(x)
    return keras.Model(inputs if num_classes is not None else z, x, name="decoder")


def conditioned_classes(conditioning: str, num_classes: int) -> tuple[int | None, int | None]:
    """How many classes encoder and decoder are given: `None` where the label is not an input.

    Raises:
        InputError: an unknown conditioning, or labels wanted without classes.
    """
    if conditioning not in CONDITIONINGS:
        raise InputError(f"unknown conditioning '{conditioning}'; known are {', '.join(CONDITIONINGS)}")
    if conditioning != "none" and num_classes < 1:
        raise InputError(f"conditioning '{conditioning}' needs classes, and the data has none; use 'none'")
    return (num_classes if conditioning == "both" else None, num_classes if conditioning != "none" else None)


def _filters(image_shape: tuple[int, int, int], width: int) -> list[int]:
    levels = max(1, round(math.log2(min(image_shape[:2]) / 4)))
    return [max(16, 4 * width // 2 ** (levels - 1 - level)) for level in range(levels)]
