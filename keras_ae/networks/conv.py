"""Standard convolutional encoders and decoders for images of any height, width and channels."""

import math

import keras
from keras import layers

from keras_ae.errors import InputError, one_of
from keras_ae.layers import Conv2D, Conv2DTranspose, with_label

CONDITIONINGS = ("none", "decoder", "both")
BLOCK = "block_"  # how the names of the layers of residual blocks begin
KERNEL = 4  # a multiple of the stride, so that the transposed convolution covers every pixel equally often


def build_encoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    num_classes: int | None = None,
    width: int = 32,
    activation: str = "silu",
) -> keras.Model:
    """The network of q(z | x[, y]): image (batch, height, width, channels)[, label (batch,)] -> z_mean, z_log_var.

    Each level halves height and width (rounded up) until the shorter side is about 4; `width` is the
    number of features two levels above the last, whose number is 4 x `width`.

    Args:
        num_classes: give it to make the label an input.

    >>> import keras_ae
    >>> z_mean, z_log_var = keras_ae.build_encoder((28, 28, 1), latent_dim=4, width=8).outputs
    >>> z_mean.shape
    (None, 4)
    """
    image = keras.Input(image_shape, name="image")
    inputs = [image]
    x = image
    for filters in level_filters(_levels(image_shape), width):
        x = downsampled(x, filters, activation)
    x = layers.Flatten()(x)
    if num_classes is not None:
        label = keras.Input((), dtype="int32", name="label")
        inputs.append(label)
        x = with_label(x, label, num_classes)
    # float32 whatever the policy: the exponential of a half-precision log-variance is not accurate enough
    z_mean = layers.Dense(latent_dim, dtype="float32", name="z_mean")(x)
    z_log_var = layers.Dense(latent_dim, dtype="float32", kernel_initializer="zeros", name="z_log_var")(x)
    return keras.Model(inputs if num_classes is not None else image, [z_mean, z_log_var], name="encoder")


def build_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    num_classes: int | None = None,
    width: int = 32,
    activation: str = "silu",
    output_bias: float = 0.5,
) -> keras.Model:
    """The network of p(x | z[, y]), the encoder's mirror: z (batch, latent_dim)[, label (batch,)] -> image.

    The last layer is linear and starts at `output_bias`. Levels whose size was rounded up are cropped.

    >>> import keras_ae
    >>> keras_ae.build_decoder((28, 28, 1), latent_dim=4, width=8).output_shape
    (None, 28, 28, 1)
    """
    levels = _levels(image_shape)
    filters, sizes = level_filters(levels, width), level_sizes(image_shape, levels)
    z = keras.Input((latent_dim,), name="z")
    inputs = [z]
    x = z
    if num_classes is not None:
        label = keras.Input((), dtype="int32", name="label")
        inputs.append(label)
        x = with_label(x, label, num_classes)
    x = layers.Dense(math.prod(sizes[-1]) * filters[-1], activation=activation)(x)
    x = layers.Reshape((*sizes[-1], filters[-1]))(x)
    for count, size in zip(filters[-2::-1], sizes[-2:0:-1], strict=True):
        x = upsampled(x, count, size, activation=activation)
    x = upsampled(x, image_shape[2], sizes[0], **output_layer(output_bias))
    return keras.Model(inputs if num_classes is not None else z, x, name="decoder")


def conditioned_classes(conditioning: str, num_classes: int) -> tuple[int | None, int | None]:
    """How many classes encoder and decoder are given: `None` where the label is not an input.

    Raises:
        InputError: an unknown conditioning, or labels wanted without classes.
    """
    one_of(conditioning, CONDITIONINGS, "conditioning")
    if conditioning != "none" and num_classes < 1:
        raise InputError(f"conditioning '{conditioning}' needs classes, and the data has none; use 'none'")
    return (num_classes if conditioning == "both" else None, num_classes if conditioning != "none" else None)


def downsampled(x, filters: int, activation: str):
    """One level down: height and width halved, rounded up."""
    return Conv2D(filters, KERNEL, strides=2, padding="same", activation=activation)(x)


def upsampled(x, filters: int, size: tuple[int, int], **kwargs):
    """One level up, to `size`: twice the height and width, less a row or column where they were rounded up."""
    x = Conv2DTranspose(filters, KERNEL, strides=2, padding="same", **kwargs)(x)
    extra = [(0, now - wanted) for now, wanted in zip(x.shape[1:3], size, strict=True)]
    return layers.Cropping2D(extra, dtype=kwargs.get("dtype"))(x) if any(map(any, extra)) else x


def residual_blocks(x, count: int, activation: str, level: int):
    """x + convolution(activation(convolution(x))), `count` times. Nothing is added before training."""
    for number in range(count):
        name = f"{BLOCK}{level}_{number}"
        residual = Conv2D(x.shape[-1], 3, padding="same", activation=activation, name=f"{name}_in")(x)
        residual = Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="zeros", name=f"{name}_out")(residual)
        x = layers.Add()([x, residual])
    return x


def of_block(weight) -> bool:
    """Whether a weight of these networks belongs to a residual block."""
    return BLOCK in weight.path


def output_layer(bias: float) -> dict:
    """What makes a convolution a network's last: linear, float32 whatever the policy, starting at `bias`."""
    return {"dtype": "float32", "bias_initializer": keras.initializers.Constant(bias), "name": "output"}


def level_sizes(image_shape: tuple[int, int, int], levels: int) -> list[tuple[int, int]]:
    """(height, width) of the image and of each level below it."""
    return [tuple(math.ceil(side / 2**level) for side in image_shape[:2]) for level in range(levels + 1)]


def level_filters(levels: int, width: int) -> list[int]:
    """The features of each level: 4 x `width` in the last, half as many in each above, never below 16."""
    return [max(16, 4 * width // 2 ** (levels - 1 - level)) for level in range(levels)]


def _levels(image_shape: tuple[int, int, int]) -> int:
    """Levels until the shorter side is about 4."""
    return max(1, round(math.log2(min(image_shape[:2]) / 4)))
