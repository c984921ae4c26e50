"""A network that tells images from those that a model makes."""

import math

import keras
from keras import layers

from keras_ae.layers import Conv2D

SLOPE = 0.2  # of the leaky activations


def build_discriminator(image_shape: tuple[int, int, int], *, width: int = 32) -> keras.Model:
    """Image (batch, height, width, channels) -> logits (batch, h, w, 1), positive where a patch looks true: the patch
    discriminator of Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", section
    3.2.2, without normalisation, which would mix the images of a batch.

    Args:
        width: features of its first level. Each of its levels, 1 to 3, halves height and width.

    >>> build_discriminator((32, 32, 3), width=8).output_shape
    (None, 8, 8, 1)
    """
    image = keras.Input(image_shape, name="image")
    x, levels = image, min(3, max(1, round(math.log2(min(image_shape[:2]))) - 3))
    for level in range(levels):
        x = layers.LeakyReLU(SLOPE)(Conv2D(width * 2**level, 4, strides=2, padding="same")(x))
    x = layers.LeakyReLU(SLOPE)(Conv2D(width * 2**levels, 3, padding="same")(x))
    logits = Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="discriminator")
