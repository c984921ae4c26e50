"""Pixels that are known: kept as they are, and spread to where they are missing."""

import math

import keras
from keras import ops

from keras_ae.errors import InputError

MOST_ITERATIONS = 1000  # a file says how many: without a bound it could say that nothing ever ends


@keras.saving.register_keras_serializable("keras_ae")
class KeepKnown(keras.layers.Layer):
    """`[image, mask, filling]` -> the image where the mask is 1, the filling where it is 0, bit for bit.

    Shapes: image and filling (batch, height, width, channels), mask (batch, height, width, 1).

    >>> image, mask, filling = ops.ones((1, 1, 2, 1)), ops.array([[[[1.0], [0.0]]]]), ops.zeros((1, 1, 2, 1))
    >>> ops.convert_to_numpy(KeepKnown()([image, mask, filling])).ravel().tolist()
    [1.0, 0.0]
    """

    def call(self, inputs):
        image, mask, filling = inputs
        return ops.where(mask > 0.5, image, filling)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def scratch(self, inputs, outputs) -> int:
        return 0


@keras.saving.register_keras_serializable("keras_ae")
class FillMissing(keras.layers.Layer):
    """`[image, mask]` -> the image, smoothly filled where the mask is 0: pull-push (Gortler et al. 1996, "The
    Lumigraph", section 3.4). Means of the known pixels at half the size, and so on down to one pixel, fill
    what is missing at the size above. At each size a few steps of conjugate gradients lead on towards the surface
    of least squared Laplacian, which biharmonic inpainting seeks (Bornemann & Deuflhard 1996, "The cascadic
    multigrid method for elliptic problems").

    Shapes: image (batch, height, width, channels), mask (batch, height, width, 1), 1 where known.

    Args:
        iterations: of conjugate gradients at each size, at most 1,000. Files of models from before have none.

    Raises:
        InputError: more iterations, or fewer than 0.

    >>> image, mask = ops.array([[[[0.5], [0.0]]]]), ops.array([[[[1.0], [0.0]]]])
    >>> ops.convert_to_numpy(FillMissing()([image, mask])).ravel().tolist()
    [0.5, 0.5]
    """

    def __init__(self, iterations: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= iterations <= MOST_ITERATIONS:
            raise InputError(f"{iterations} iterations are not possible; give 0 to {MOST_ITERATIONS}")
        self.iterations = iterations

    def call(self, inputs):
        image, mask = inputs
        return _filled(ops.where(mask > 0.5, image, 0), ops.cast(mask > 0.5, image.dtype), self.iterations)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def scratch(self, inputs, outputs) -> int:
        """The images of conjugate gradients, at all sizes: a third more than at the largest."""
        return 12 * math.prod(outputs[0][1:])

    def get_config(self):
        return {**super().get_config(), "iterations": self.iterations}


def _filled(image, known, iterations: int):
    """`image` is 0 where it is not `known`."""
    if max(image.shape[1:3]) == 1:
        return image
    # Both pooled alike, so that their ratio does not depend on how the border is padded.
    total, weight = (ops.average_pool(x, 2, strides=2, padding="same") for x in (image, known))
    means = total / ops.maximum(weight, 1e-6)
    coarse = _filled(means, ops.cast(weight > 0, image.dtype), iterations)
    around = ops.image.resize(coarse, image.shape[1:3], interpolation="bilinear")
    return _smoothed(image + around * (1 - known), 1 - known, iterations)


def _smoothed(image, unknown, iterations: int):
    """Conjugate gradients on the squared Laplacian of `image`, each image's own, over its `unknown` pixels."""

    def gradient(x):
        return unknown * _laplacian(_laplacian(x))

    def dot(x, y):
        return ops.sum(x * y, axis=(1, 2, 3), keepdims=True)

    residual = direction = -gradient(image)
    square = dot(residual, residual)
    for _ in range(iterations):
        curved = gradient(direction)
        step = square / (dot(direction, curved) + 1e-12)  # nothing is left to do where both are 0
        image = image + step * direction
        residual = residual - step * curved
        before, square = square, dot(residual, residual)
        direction = residual + square / (before + 1e-12) * direction
    return image


def _laplacian(x):
    """Of each pixel and its four neighbours. Beyond the border the image repeats its last pixels."""
    padded = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="symmetric")
    rows, columns = padded[:, :, 1:-1], padded[:, 1:-1]
    return rows[:, 2:] + rows[:, :-2] + columns[:, :, 2:] + columns[:, :, :-2] - 4 * x
