"""Networks of hierarchies: an encoder from fine to coarse, and levels from coarse to fine."""

import math
from typing import NamedTuple

import keras
from keras import layers

from keras_ae.errors import InputError
from keras_ae.latents import Gaussian
from keras_ae.layers import Conv2D, with_label
from keras_ae.networks.base import code_shape, heads, label_input
from keras_ae.networks.conv import downsampled, level_filters, level_sizes, output_layer, residual_blocks, upsampled
from keras_ae.networks.mlp import gated_layer

BLOCKS = 2  # at each resolution of the encoder, and below each level
ACTIVATION = "silu"
HEADS = dict.fromkeys(Gaussian.heads, "zeros")  # below the top, posterior and prior are the same before training


class Hierarchy(NamedTuple):
    """What `HierarchicalVAE` is made of.

    >>> Hierarchy._fields
    ('encoder', 'levels', 'head')
    """

    encoder: keras.Model
    levels: list[tuple]
    head: keras.Model


def build_hierarchy(
    image_shape: tuple[int, int, int],
    shapes: list[tuple[int, ...]],
    output_channels: int,
    *,
    encoder_classes: int | None = None,
    decoder_classes: int | None = None,
    width: int | None = None,
    output_bias: float = 0.5,
) -> Hierarchy:
    """Residual convolutions for levels of places; gated dense layers for levels of vectors.

    Args:
        shapes: of the latents of each level, the top level first: (height, width, channels), where a level has the
            image's places halved several times, and at least as many as the level above; or (latents,) of all levels.
        output_channels: of the likelihood.
        encoder_classes, decoder_classes: give them to make the label an input.
        width: features two resolutions above the coarsest, whose number is 4 x `width`; of dense layers all. 32 and 300
            where `None`.

    Raises:
        InputError: less than two levels, levels of both kinds, or places that are not possible.

    >>> build_hierarchy((28, 28, 1), [(40,), (40,)], 1, width=300).encoder.output_shape
    [(None, 40), (None, 40), (None, 300)]
    >>> build_hierarchy((8, 8, 3), [(2, 2, 4), (4, 4, 2)], 3, width=4).head.output_shape
    (None, 8, 8, 3)
    """
    shapes = [code_shape(shape, image_shape) for shape in shapes]
    if len(shapes) < 2:
        raise InputError(f"{len(shapes)} level is no hierarchy; give two or more, as 4x4x16,8x8x8")
    if len({len(shape) for shape in shapes}) > 1:
        raise InputError("levels are all vectors, as 40,40, or all places, as 4x4x16,8x8x8")
    settings = {"encoder_classes": encoder_classes, "decoder_classes": decoder_classes}
    build, default = (_dense, 300) if len(shapes[0]) == 1 else (_convolutional, 32)
    settings |= {"width": default if width is None else width, "output_bias": output_bias}
    return build(image_shape, shapes, output_channels, **settings)


def _dense(image_shape, shapes, output_channels, *, encoder_classes, decoder_classes, width, output_bias) -> Hierarchy:
    """After the two-level network of Tomczak & Welling 2018, "VAE with a VampPrior", section 4.2: gated layers. Here
    the levels share the first layer of the encoder, and a level's prior, posterior and merge what comes from above."""
    image, labels = keras.Input(image_shape, name="image"), label_input(encoder_classes)
    x = layers.Flatten()(image)
    x = with_label(x, labels[0], encoder_classes) if labels else x
    x = gated_layer(x, width)
    seen = [gated_layer(x, width) for _ in shapes]
    outputs = [*heads(seen[0], shapes[0], HEADS | {"z_mean": "glorot_uniform"}), *seen[1:]]
    encoder = keras.Model([image, *labels] if labels else image, outputs, name="encoder")

    z, labels = keras.Input(shapes[0], name="z"), label_input(decoder_classes)
    x = with_label(z, labels[0], decoder_classes) if labels else z
    x = gated_layer(gated_layer(x, width), width)
    levels = [(keras.Model([z, *labels] if labels else z, x, name="merge_1"),)]
    for number, shape in enumerate(shapes[1:], 2):
        above, seen, z = keras.Input((width,), name="above"), keras.Input((width,), name="seen"), keras.Input(shape)
        both = gated_layer(layers.Concatenate()([above, seen]), width)
        merged = gated_layer(layers.Concatenate()([above, gated_layer(z, width)]), width)
        levels.append(
            (
                keras.Model([above, z], merged, name=f"merge_{number}"),
                keras.Model(above, heads(above, shape, _named("prior", number)), name=f"prior_{number}"),
                keras.Model([above, seen], heads(both, shape, _named("posterior", number)), name=f"posterior_{number}"),
            )
        )

    features = keras.Input((width,), name="features")
    output_shape = (*image_shape[:2], output_channels)
    x = layers.Dense(math.prod(output_shape), **output_layer(output_bias))(features)
    x = layers.Reshape(output_shape, dtype="float32")(x)
    return Hierarchy(encoder, levels, keras.Model(features, x, name="head"))


def _convolutional(
    image_shape, shapes, output_channels, *, encoder_classes, decoder_classes, width, output_bias
) -> Hierarchy:
    depths = _depths(image_shape, shapes)
    sizes, filters = level_sizes(image_shape, depths[0]), [max(16, width), *level_filters(depths[0], width)]

    def finer(x, above: int, below: int, level: int):
        """Features of the resolution `below`, from those of the resolution `above`."""
        for depth in range(above - 1, below - 1, -1):
            x = upsampled(x, filters[depth], sizes[depth], activation=ACTIVATION)
            x = residual_blocks(x, BLOCKS, ACTIVATION, f"{level}_{depth}")
        return x

    image, labels = keras.Input(image_shape, name="image"), label_input(encoder_classes)
    x = with_label(image, labels[0], encoder_classes) if labels else image
    x = _conv(x, filters[0])
    found = {0: x}
    for depth in range(1, depths[0] + 1):
        found[depth] = x = residual_blocks(downsampled(x, filters[depth], ACTIVATION), BLOCKS, ACTIVATION, depth)
    outputs = [*_moments(x, shapes[0][2], HEADS), *(found[depth] for depth in depths[1:])]
    encoder = keras.Model([image, *labels] if labels else image, outputs, name="encoder")

    z, labels = keras.Input(shapes[0], name="z"), label_input(decoder_classes)
    x = with_label(z, labels[0], decoder_classes) if labels else z
    x = residual_blocks(_conv(x, filters[depths[0]]), BLOCKS, ACTIVATION, "merge_1")
    x = finer(x, depths[0], depths[1], 1)
    levels = [(keras.Model([z, *labels] if labels else z, x, name="merge_1"),)]
    for number, (depth, shape) in enumerate(zip(depths[1:], shapes[1:], strict=True), 2):
        features = (*sizes[depth], filters[depth])
        above, seen = keras.Input(features, name="above"), keras.Input(features, name="seen")
        both = _conv(layers.Concatenate()([above, seen]), filters[depth])
        z = keras.Input(shape, name="z")
        x = layers.Add()([above, _conv(z, filters[depth])])
        x = residual_blocks(x, BLOCKS, ACTIVATION, f"merge_{number}")
        x = finer(x, depth, depths[number] if number < len(depths) else 0, number)
        alone = _conv(above, filters[depth])
        levels.append(
            (
                keras.Model([above, z], x, name=f"merge_{number}"),
                keras.Model(above, _moments(alone, shape[2], _named("prior", number)), name=f"prior_{number}"),
                keras.Model(
                    [above, seen], _moments(both, shape[2], _named("posterior", number)), name=f"posterior_{number}"
                ),
            )
        )

    features = keras.Input((*image_shape[:2], filters[0]), name="features")
    x = Conv2D(output_channels, 1, **output_layer(output_bias))(features)  # of many channels, at each pixel
    return Hierarchy(encoder, levels, keras.Model(features, x, name="head"))


def _conv(x, filters: int):
    return Conv2D(filters, 3, padding="same", activation=ACTIVATION)(x)


def _named(part: str, number: int) -> dict[str, str]:
    """The heads of a level. On torch, weights of the same name in two networks are one parameter."""
    return {f"{part}_{number}_{name}": kernel for name, kernel in HEADS.items()}


def _moments(x, channels: int, kernels: dict[str, str]) -> list:
    """Mean and log-variance."""
    settings = {"padding": "same", "dtype": "float32"}
    return [
        Conv2D(channels, 3, **settings, kernel_initializer=kernel, name=name)(x) for name, kernel in kernels.items()
    ]


def _depths(image_shape, shapes) -> list[int]:
    """How often the image is halved down to each level."""
    sizes = level_sizes(image_shape, math.ceil(math.log2(max(image_shape[:2]))))
    for shape in shapes:
        if shape[:2] not in sizes:
            known = ", ".join(f"{height}x{width}" for height, width in sizes)
            raise InputError(f"a level of {shape[0]}x{shape[1]} places is not possible; give {known}")
    depths = [sizes.index(shape[:2]) for shape in shapes]
    if sorted(depths, reverse=True) != depths:
        raise InputError("a level has fewer places than the one above it; begin with the coarsest")
    return depths
