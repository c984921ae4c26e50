"""Pixels that are known: kept as they are, and spread to where they are missing."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_ae")
class KeepKnown(keras.layers.Layer):
    """`[image, mask, filling]` -> the image where the mask is 1, the filling where it is 0, bit for bit.

    Shapes: image and filling (batch, height, width, channels), mask (batch, height, width, 1).
    """

    def call(self, inputs):
        image, mask, filling = inputs
        return ops.where(mask > 0.5, image, filling)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable("keras_ae")
class FillMissing(keras.layers.Layer):
    """`[image, mask]` -> the image, smoothly filled where the mask is 0: pull-push (Gortler et al. 1996, "The
    Lumigraph", section 3.4). Means of the known pixels at half the size, and so on down to one pixel, fill
    what is missing at the size above.

    Shapes: image (batch, height, width, channels), mask (batch, height, width, 1), 1 where known.
    """

    def call(self, inputs):
        image, mask = inputs
        return _filled(ops.where(mask > 0.5, image, 0), ops.cast(mask > 0.5, image.dtype))

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def _filled(image, known):
    """`image` is 0 where it is not `known`."""
    if max(image.shape[1:3]) == 1:
        return image
    # Both pooled alike, so that their ratio does not depend on how the border is padded.
    total, weight = (ops.average_pool(x, 2, strides=2, padding="same") for x in (image, known))
    means = total / ops.maximum(weight, 1e-6)
    coarse = _filled(means, ops.cast(weight > 0, image.dtype))
    around = ops.image.resize(coarse, image.shape[1:3], interpolation="bilinear")
    return image + around * (1 - known)
