"""A network that tells images from those that a model makes."""

import math

import keras
from keras import layers

from keras_ae.layers import Conv2D
from keras_ae.networks.base import check_width

SLOPE = 0.2  # of the leaky activations
GROUPS = 8  # of features that are normalised together


def build_discriminator(image_shape: tuple[int, int, int], *, width: int = 32) -> keras.Model:
    """Image (batch, height, width, channels) -> logits (batch, h, w, 1), positive where a patch looks true: the patch
    discriminator of Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", section
    3.2.2, with group normalisation, which does not mix the images of a batch.

    Args:
        width: features of its first level, a multiple of 8. Each of its levels, 1 to 3, halves height and width.

    Raises:
        InputError: a width that is not possible.

    >>> build_discriminator((32, 32, 3), width=8).output_shape
    (None, 8, 8, 1)
    """
    check_width(width, GROUPS)
    image = keras.Input(image_shape, name="image")
    x, levels = image, min(3, max(1, round(math.log2(min(image_shape[:2]))) - 3))
    for level in range(levels):
        x = Conv2D(width * 2**level, 4, strides=2, padding="same")(x)
        x = layers.GroupNormalization(GROUPS)(x) if level else x
        x = layers.LeakyReLU(SLOPE)(x)
    x = layers.GroupNormalization(GROUPS)(Conv2D(width * 2**levels, 3, padding="same")(x))
    x = layers.LeakyReLU(SLOPE)(x)
    logits = Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="discriminator")
