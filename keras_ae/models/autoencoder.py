"""The convolutional autoencoder: a functional model around a code of few spatial features."""

import math
from dataclasses import dataclass

import keras
from keras import layers

from keras_ae.errors import InputError, one_of
from keras_ae.layers import Conv2D, Conv2DTranspose, FillMissing, KeepKnown, with_label
from keras_ae.networks import conditioned_classes
from keras_ae.networks.conv import (
    code_window,
    downsampled,
    level_filters,
    level_sizes,
    output_layer,
    residual_blocks,
    upsampled,
)
from keras_ae.tasks import TASKS

FEATURES_PER_VALUE = 3  # of the last level, for each value of the code: 2 were too few (docs/experiments.md, STL-10)


def conv_autoencoder(
    image_shape: tuple[int, int, int],
    code_size: int = 2,
    code_channels: int = 128,
    *,
    num_classes: int | None = None,
    conditioning: str = "none",
    skip_connections: bool = False,
    task: str = "reconstruct",
    mask_classes: int = 2,
    width: int = 32,
    blocks: int = 0,
    activation: str = "silu",
) -> keras.Model:
    """A functional model with the sub-models `encoder` and `decoder`, for plain `compile` and `fit`.

    image (batch, height, width, channels)[, mask (batch, height, width, 1)][, label (batch,)]
        -> code (batch, code_size, code_size, code_channels) -> image

    Levels halve height and width (rounded up) until the last has `code_size` x `code_size` places, or until
    another would have too few features, of all its places, for the code: that is a few times its values, and so
    many places that each of the code's has a part of its own. One convolution then makes each part one place.
    With skip connections, which lead around the code, the levels go down to `code_size`.

    Args:
        image_shape: (height, width, channels), of any size.
        num_classes: how many labels there are, where `conditioning` is "decoder" or "both".
        skip_connections: features of the encoder reach the decoder at every level, next to the code
            (U-Net, Ronneberger et al. 2015). For "denoise" and "complete" the network's output is then added to
            its input (Zhang et al. 2017, "Beyond a Gaussian denoiser").
        task: what comes in and out. "reconstruct" and "denoise": an image for an image; "complete": the
            mask of the known pixels (1: known) comes in, too, these come out unchanged, and the encoder sees
            the image with its missing pixels filled smoothly from those around (`FillMissing`); "segment":
            out come the probabilities (batch, height, width, mask_classes) of each pixel's classes.
        mask_classes: how many classes a segmentation tells apart.
        width: sizes the network: a quarter of the features of its last level.
        blocks: residual blocks of two convolutions at each level, of the encoder below the image's own and of the
            decoder above the code's (Lim et al. 2017, "Enhanced deep residual networks for single image
            super-resolution"). They start as the identity, so that a network with them can start from the weights of
            one without.

    Raises:
        InputError: sizes below 1, blocks below 0, a code larger than the image, an unknown task or conditioning.

    >>> import keras_ae
    >>> model = keras_ae.conv_autoencoder((28, 28, 1), code_size=2, code_channels=8, width=4)
    >>> model.get_layer("encoder").output_shape
    (None, 2, 2, 8)
    """
    _check_sizes(image_shape, code_size, code_channels, width=width, mask_classes=mask_classes, blocks=blocks)
    one_of(task, TASKS, "task")
    task = TASKS[task]
    if task.classifies and mask_classes < 2:
        raise InputError("a segmentation needs 2 mask_classes or more")
    encoder_classes, decoder_classes = conditioned_classes(conditioning, num_classes or 0)
    levels = _levels(image_shape, code_size, code_channels, width, skip_connections)
    sizes = level_sizes(image_shape, levels)
    plan = _Plan(
        sizes=sizes,
        filters=level_filters(levels + 1, width),
        code_window=code_window(sizes[-1], (code_size, code_size)),
        skip_connections=skip_connections and levels > 0,
        blocks=blocks,
        activation=activation,
    )
    corrects = task.corrects and skip_connections
    encoder = _encoder(plan, image_shape, code_channels, takes_mask=task.takes_mask, num_classes=encoder_classes)
    decoder = _decoder(
        plan,
        encoder.outputs,
        channels=mask_classes if task.classifies else image_shape[2],
        num_classes=decoder_classes,
        output_bias=0.0 if corrects or task.classifies else 0.5,
        softmax=task.classifies,
    )

    image = keras.Input(image_shape, name="image")
    mask = keras.Input((*image_shape[:2], 1), name="mask") if task.takes_mask else None
    label = keras.Input((), dtype="int32", name="label") if decoder_classes else None
    filled = FillMissing(iterations=4, dtype="float32")([image, mask]) if task.takes_mask else image
    encoded = encoder(_present(filled, mask, label if encoder_classes else None))
    output = decoder(_present(*keras.tree.flatten(encoded), label))
    if corrects:
        output = layers.Add(dtype="float32")([filled, output])
    if task.takes_mask:
        output = KeepKnown(dtype="float32")([image, mask, output])
    return keras.Model(_present(image, mask, label), output, name="conv_autoencoder")


@dataclass(frozen=True)
class _Plan:
    """What encoder and decoder share.

    Attributes:
        sizes: (height, width) of the image and of each level below it.
        filters: the features of the same.
        code_window: kernel and strides of the convolution from the last level to the code, and of the one back.
        skip_connections: whether features pass from each level of the encoder to the decoder's.
        blocks: residual blocks at each level.
        activation: of the convolutions.
    """

    sizes: list[tuple[int, int]]
    filters: list[int]
    code_window: dict
    skip_connections: bool
    blocks: int
    activation: str

    @property
    def top(self) -> int:
        """The highest level at which the decoder has features. Above it is the image alone."""
        return 0 if self.skip_connections else 1

    def convolution(self, filters: int, **kwargs):
        return Conv2D(filters, 3, padding="same", **{"activation": self.activation, **kwargs})


def _present(*tensors) -> list:
    return [tensor for tensor in tensors if tensor is not None]


def _encoder(plan: _Plan, image_shape, code_channels: int, *, takes_mask: bool, num_classes: int | None) -> keras.Model:
    """image[, mask][, label] -> code[, the features of each level but the last, from the image's down].

    With a mask, the image comes with its missing pixels filled.
    """
    inputs = [keras.Input(image_shape, name="image")]
    x = inputs[0]
    if takes_mask:
        inputs.append(keras.Input((*image_shape[:2], 1), name="mask"))
        x = layers.Concatenate()(inputs)
    if plan.skip_connections:
        x = plan.convolution(plan.filters[0])(x)
    skips = []
    for level, filters in enumerate(plan.filters[1:], 1):
        skips.append(x)
        x = downsampled(x, filters, plan.activation)
        x = residual_blocks(x, plan.blocks, plan.activation, level)
    if num_classes is not None:
        inputs.append(keras.Input((), dtype="int32", name="label"))
        x = with_label(x, inputs[-1], num_classes)
    code = Conv2D(code_channels, **plan.code_window, name="code")(x)
    return keras.Model(inputs, [code, *skips] if plan.skip_connections else code, name="encoder")


def _decoder(
    plan: _Plan, encoded: list, *, channels: int, num_classes: int | None, output_bias: float, softmax: bool
) -> keras.Model:
    """What the encoder gives[, label] -> image, or probabilities, (batch, height, width, channels)."""
    names = ["code", *(f"skip_{level}" for level in range(len(encoded) - 1))]
    inputs = [keras.Input(tensor.shape[1:], name=name) for name, tensor in zip(names, encoded, strict=True)]
    x, *skips = inputs
    if num_classes is not None:
        inputs.append(keras.Input((), dtype="int32", name="label"))
        x = with_label(x, inputs[-1], num_classes)
    x = Conv2DTranspose(plan.filters[-1], **plan.code_window, activation=plan.activation)(x)
    for level in reversed(range(plan.top, len(plan.filters) - 1)):
        x = upsampled(x, plan.filters[level], plan.sizes[level], activation=plan.activation)
        if plan.skip_connections:
            x = layers.Concatenate()([x, skips[level]])
            x = plan.convolution(plan.filters[level])(x)
        x = residual_blocks(x, plan.blocks, plan.activation, level)
    last = output_layer(output_bias)
    if plan.skip_connections or len(plan.filters) == 1:
        x = plan.convolution(channels, activation=None, **last)(x)
    else:
        x = upsampled(x, channels, plan.sizes[0], **last)
    if softmax:
        x = layers.Softmax(dtype="float32")(x)
    return keras.Model(inputs, x, name="decoder")


def _check_sizes(image_shape, code_size: int, code_channels: int, *, width: int, mask_classes: int, blocks: int):
    if min(*image_shape, code_size, code_channels, width, mask_classes) < 1 or blocks < 0:
        raise InputError(
            f"image shape {image_shape}, code_size {code_size}, code_channels {code_channels}, width {width} and "
            f"mask_classes {mask_classes} must be 1 or more, blocks {blocks} 0 or more"
        )
    if code_size > min(image_shape[:2]):
        raise InputError(
            f"code_size {code_size} is larger than the image of {image_shape[0]}x{image_shape[1]}; "
            f"give 1 to {min(image_shape[:2])}"
        )


def _levels(
    image_shape: tuple[int, int, int], code_size: int, code_channels: int, width: int, skip_connections: bool
) -> int:
    """How often height and width are halved, as `conv_autoencoder` says."""
    levels = 0
    while min(level_sizes(image_shape, levels)[-1]) > 1:
        below = level_sizes(image_shape, levels + 1)[-1]
        parts = min(below) == code_size or min(below) >= 2 * code_size
        features = math.prod(below) * level_filters(levels + 1, width)[-1]
        wide = features >= FEATURES_PER_VALUE * code_size**2 * code_channels
        enough = min(below) >= code_size if skip_connections else parts and wide
        if not enough:
            break
        levels += 1
    return levels
