"""Standard convolutional encoders and decoders for images of any height, width and channels."""

import math
from operator import ge

import keras
from keras import layers

from keras_ae.layers import Conv2D, Conv2DTranspose, with_label
from keras_ae.networks.base import HEADS, code_shape, heads, label_input

BLOCK = "block_"  # how the names of the layers of residual blocks begin
KERNEL = 4  # a multiple of the stride, so that the transposed convolution covers every pixel equally often


def build_encoder(
    image_shape: tuple[int, int, int],
    latent_dim: int | tuple[int, int, int],
    *,
    num_classes: int | None = None,
    width: int = 32,
    activation: str = "silu",
    blocks: int = 0,
    kernels: dict[str, str] = HEADS,
) -> keras.Model:
    """The network of q(z | x[, y]): image (batch, height, width, channels)[, label (batch,)] -> z_mean, z_log_var.

    Each level halves height and width (rounded up) until the shorter side is about 4, or for a spatial code until
    another would have fewer places than the code. `width` is the number of features two levels above the last, whose
    number is 4 x `width`.

    Args:
        latent_dim: how many latents, or (height, width, channels) of a spatial code.
        num_classes: give it to make the label an input.
        blocks: residual blocks at each level.
        kernels: as `Latent.heads`.

    Raises:
        InputError: a code that is not possible.

    >>> import keras_ae
    >>> z_mean, z_log_var = keras_ae.build_encoder((28, 28, 1), latent_dim=4, width=8).outputs
    >>> z_mean.shape
    (None, 4)
    >>> keras_ae.build_encoder((28, 28, 1), latent_dim=(7, 7, 2), width=8).output_shape[0]
    (None, 7, 7, 2)
    """
    code = code_shape(latent_dim, image_shape)
    image, labels = keras.Input(image_shape, name="image"), label_input(num_classes)
    levels = _levels(image_shape, code)
    x = image
    if not levels:
        x = Conv2D(4 * width, 3, padding="same", activation=activation)(x)
    for level, filters in enumerate(level_filters(levels, width), 1):
        x = downsampled(x, filters, activation)
        x = residual_blocks(x, blocks, activation, level)
    if len(code) == 1:
        x = layers.Flatten()(x)
    if labels:
        x = with_label(x, labels[0], num_classes)
    if len(code) == 1:
        outputs = heads(x, code, kernels)
    else:
        window = code_window(x.shape[1:3], code[:2])
        outputs = [
            Conv2D(code[2], **window, dtype="float32", kernel_initializer=kernel, name=name)(x)
            for name, kernel in kernels.items()
        ]
    return keras.Model([image, *labels] if labels else image, outputs, name="encoder")


def build_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int | tuple[int, int, int],
    *,
    num_classes: int | None = None,
    width: int = 32,
    activation: str = "silu",
    output_bias: float = 0.5,
    blocks: int = 0,
) -> keras.Model:
    """The network of p(x | z[, y]), the encoder's mirror: z (batch, *code)[, label (batch,)] -> image.

    The last layer is linear and starts at `output_bias`. Levels whose size was rounded up are cropped. The other
    arguments are those of `build_encoder`.

    >>> import keras_ae
    >>> keras_ae.build_decoder((28, 28, 1), latent_dim=4, width=8).output_shape
    (None, 28, 28, 1)
    """
    code = code_shape(latent_dim, image_shape)
    levels = _levels(image_shape, code)
    filters, sizes = level_filters(levels, width), level_sizes(image_shape, levels)
    z, labels = keras.Input(code, name="z"), label_input(num_classes)
    x = with_label(z, labels[0], num_classes) if labels else z
    last = filters[-1] if levels else 4 * width
    if len(code) == 1:
        x = layers.Dense(math.prod(sizes[-1]) * last, activation=activation)(x)
        x = layers.Reshape((*sizes[-1], last))(x)
    else:
        x = Conv2DTranspose(last, **code_window(sizes[-1], code[:2]), activation=activation)(x)
    x = residual_blocks(x, blocks, activation, levels)
    for level in reversed(range(1, levels)):
        x = upsampled(x, filters[level - 1], sizes[level], activation=activation)
        x = residual_blocks(x, blocks, activation, level)
    if levels:
        x = upsampled(x, image_shape[2], sizes[0], **output_layer(output_bias))
    else:
        x = Conv2D(image_shape[2], 3, padding="same", **output_layer(output_bias))(x)
    return keras.Model([z, *labels] if labels else z, x, name="decoder")


def code_window(sides: tuple[int, int], places: tuple[int, int]) -> dict:
    """Of the convolution from the last level to the code, and of the one back: each place has its part of the
    level, and the parts overlap by what the division leaves over."""
    strides = [side // count for side, count in zip(sides, places, strict=True)]
    kernel = [side - (n - 1) * stride for side, n, stride in zip(sides, places, strides, strict=True)]
    return {"kernel_size": kernel, "strides": strides}


def downsampled(x, filters: int, activation: str):
    """One level down: height and width halved, rounded up."""
    return Conv2D(filters, KERNEL, strides=2, padding="same", activation=activation)(x)


def upsampled(x, filters: int, size: tuple[int, int], **kwargs):
    """One level up, to `size`: twice the height and width, less a row or column where they were rounded up."""
    x = Conv2DTranspose(filters, KERNEL, strides=2, padding="same", **kwargs)(x)
    extra = [(0, now - wanted) for now, wanted in zip(x.shape[1:3], size, strict=True)]
    return layers.Cropping2D(extra, dtype=kwargs.get("dtype"))(x) if any(map(any, extra)) else x


def residual_blocks(x, count: int, activation: str, level: int | str):
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


def _levels(image_shape: tuple[int, int, int], code: tuple[int, ...]) -> int:
    """Levels until the shorter side is about 4, or until the code has as many places."""
    if len(code) == 1:
        return max(1, round(math.log2(min(image_shape[:2]) / 4)))
    levels = 0
    while max(below := level_sizes(image_shape, levels + 1)[-1]) > 1 and all(map(ge, below, code)):
        levels += 1
    return levels
