"""A small network that classifies images, and whose features tell how alike two of them are."""

import math

import keras
from keras import layers

from keras_ae.layers import Conv2D

FEATURES = "features_"  # how the names of the layers begin that others may look at


def build_classifier(image_shape: tuple[int, int, int], classes: int, *, width: int = 32) -> keras.Model:
    """Image (batch, height, width, channels) in [0, 1] -> logits (batch, classes).

    Each level has a residual block and half the height and width of the one above, until the shorter side is about 8.
    The levels' features are the layers `features_1`, `features_2` and so on; the last, `features`, are their means over
    places.

    Args:
        width: features of the first level; each other has twice as many as the one above.

    >>> build_classifier((32, 32, 3), classes=10, width=8).output_shape
    (None, 10)
    """
    image = keras.Input(image_shape, name="image")
    x = Conv2D(width, 3, padding="same")(image)
    levels = 1 + max(0, round(math.log2(min(image_shape[:2]) / 8)))
    for level in range(1, levels + 1):
        if level > 1:
            x = Conv2D(width * 2 ** (level - 1), 4, strides=2, padding="same")(x)
        y = Conv2D(x.shape[-1], 3, padding="same", activation="silu")(layers.Activation("silu")(x))
        y = Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="zeros")(y)
        x = layers.Add(name=f"{FEATURES}{level}")([x, y])
    x = layers.GlobalAveragePooling2D(name="features")(layers.Activation("silu")(x))
    return keras.Model(image, layers.Dense(classes, dtype="float32", name="logits")(x), name="classifier")
