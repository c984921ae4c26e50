"""The convolutional autoencoder: a functional model around a code of few spatial features."""

import math

import keras
from keras import layers

from keras_ae.errors import InputError, one_of
from keras_ae.layers import Conv2D, Conv2DTranspose, FillMissing, KeepKnown, with_label
from keras_ae.networks.conv import (
    conditioned_classes,
    downsampled,
    level_filters,
    level_sizes,
    output_layer,
    residual_blocks,
    upsampled,
)

TASKS = ("reconstruct", "denoise", "complete", "segment")
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
        skip_connections: features of the encoder reach the decoder at every level, beside the code
            (U-Net, Ronneberger et al. 2015). For "denoise" and "complete" what it finds is then added to
            its input (Zhang et al. 2017, "Beyond a Gaussian denoiser").
        task: what comes in and out. "reconstruct" and "denoise": an image for an image; "complete": the
            mask of the known pixels (1: known) comes in, too, these come out unchanged, and the encoder sees
            the image with its missing pixels filled smoothly from those around (`FillMissing`); "segment":
            out come the probabilities (batch, height, width, mask_classes) of each pixel's classes.
        mask_classes: how many classes a segmentation tells apart.
        width: sizes the network: a quarter of the features of its last level.
        blocks: residual blocks of two convolutions at each level, of the encoder below the image's own and of the
            decoder above the code's (Lim et al. 2017, "Enhanced deep residual networks for single image
            super-resolution"). They start as the identity, so that a network with them can go on from the weights of
            one without.

    Raises:
        InputError: sizes below 1, blocks below 0, a code larger than the image, an unknown task or conditioning.
    """
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
    one_of(task, TASKS, "task")
    if task == "segment" and mask_classes < 2:
        raise InputError("a segmentation needs 2 mask_classes or more")
    encoder_classes, decoder_classes = conditioned_classes(conditioning, num_classes or 0)
    levels = _levels(image_shape, code_size, code_channels, width, skip_connections)
    sizes = level_sizes(image_shape, levels)
    network = {
        "sizes": sizes,
        "filters": level_filters(levels + 1, width),  # of the image's own level, too
        "code_window": _code_window(sizes[-1], code_size),
        "skip_connections": skip_connections and levels > 0,
        "blocks": blocks,
        "activation": activation,
    }
    residual = skip_connections and task in ("denoise", "complete")
    encoder = _encoder(image_shape, code_channels, mask=task == "complete", num_classes=encoder_classes, **network)
    decoder = _decoder(
        encoder.outputs,
        mask_classes if task == "segment" else image_shape[2],
        num_classes=decoder_classes,
        output_bias=0.0 if residual or task == "segment" else 0.5,
        softmax=task == "segment",
        **network,
    )
    inputs = {tensor.name: tensor for tensor in encoder.inputs}
    if decoder_classes and not encoder_classes:
        inputs["label"] = keras.Input((), dtype="int32", name="label")
    image = inputs["image"]
    if task == "complete":
        image = FillMissing(iterations=4, dtype="float32")([image, inputs["mask"]])
    encoded = encoder([image, *(inputs[tensor.name] for tensor in encoder.inputs[1:])])
    encoded = list(encoded) if isinstance(encoded, list | tuple) else [encoded]
    output = decoder([*encoded, inputs["label"]] if decoder_classes else encoded)
    if residual:
        output = layers.Add(dtype="float32")([image, output])
    if task == "complete":
        output = KeepKnown(dtype="float32")([inputs["image"], inputs["mask"], output])
    return keras.Model(list(inputs.values()), output, name="conv_autoencoder")


def _encoder(
    image_shape, code_channels, *, sizes, filters, code_window, skip_connections, blocks, activation, mask, num_classes
) -> keras.Model:
    """image[, mask][, label] -> code[, the features of each level but the last, from the image's down].

    With a mask, the image comes with its missing pixels filled.
    """
    inputs = [keras.Input(image_shape, name="image")]
    x = inputs[0]
    if mask:
        inputs.append(keras.Input((*image_shape[:2], 1), name="mask"))
        x = layers.Concatenate()(inputs)
    if skip_connections:
        x = Conv2D(filters[0], 3, padding="same", activation=activation)(x)
    skips = []
    for level, count in enumerate(filters[1:], 1):
        skips.append(x)
        x = residual_blocks(downsampled(x, count, activation), blocks, activation, level)
    if num_classes is not None:
        inputs.append(keras.Input((), dtype="int32", name="label"))
        x = with_label(x, inputs[-1], num_classes)
    code = Conv2D(code_channels, **code_window, name="code")(x)
    return keras.Model(inputs, [code, *skips] if skip_connections else code, name="encoder")


def _decoder(
    encoded,
    channels,
    *,
    sizes,
    filters,
    code_window,
    skip_connections,
    blocks,
    activation,
    num_classes,
    output_bias,
    softmax,
) -> keras.Model:
    """What the encoder gives[, label] -> image (batch, height, width, channels)."""
    names = ["code", *(f"skip_{level}" for level in range(len(encoded) - 1))]
    inputs = [keras.Input(tensor.shape[1:], name=name) for name, tensor in zip(names, encoded, strict=True)]
    x, *skips = inputs
    if num_classes is not None:
        inputs.append(keras.Input((), dtype="int32", name="label"))
        x = with_label(x, inputs[-1], num_classes)
    x = Conv2DTranspose(filters[-1], **code_window, activation=activation)(x)
    last = output_layer(output_bias)
    for level in reversed(range(len(filters) - 1)):
        if level > 0 or skip_connections:
            x = upsampled(x, filters[level], sizes[level], activation=activation)
        else:
            x = upsampled(x, channels, sizes[0], **last)
        if skip_connections:
            x = layers.Concatenate()([x, skips[level]])
            x = Conv2D(filters[level], 3, padding="same", activation=activation)(x)
        if level > 0 or skip_connections:
            x = residual_blocks(x, blocks, activation, level)
    if skip_connections or len(filters) == 1:
        x = Conv2D(channels, 3, padding="same", **last)(x)
    if softmax:
        x = layers.Softmax(dtype="float32")(x)
    return keras.Model(inputs, x, name="decoder")


def _code_window(sides: tuple[int, int], code_size: int) -> dict:
    """Of the convolution from the last level to the code, and of the one back: each place has its part of the
    level, and the parts overlap by what the division leaves over."""
    strides = [side // code_size for side in sides]
    kernel = [side - (code_size - 1) * stride for side, stride in zip(sides, strides, strict=True)]
    return {"kernel_size": kernel, "strides": strides}


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
