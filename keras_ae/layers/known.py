"""Pixels that are known and must stay as they are."""

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
