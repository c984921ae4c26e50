"""p(image | z): what a decoder's output says of an image, in nats per image.

To add one: a subclass of `Likelihood`, here or in a file of its own, and its entry in `objectives/__init__.py`.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError


class Likelihood(keras.layers.Layer):
    """Maps images and the decoder's output, both (batch, height, width, channels), to two vectors.

    Calling it returns `(reconstruction, log_likelihood)`, each (batch,) in nats summed over pixels:
    what is minimised, and log p(image | z) with all its constants.

    >>> from keras_ae.objectives import get_likelihood
    >>> image, output = ops.zeros((1, 2, 2, 1)), ops.ones((1, 2, 2, 1))
    >>> reconstruction, log_likelihood = get_likelihood("squared_error")(image, output)
    >>> float(reconstruction[0])
    4.0
    """

    output_bias = 0.5  # where the decoder's last layer starts: the middle of the grey levels
    is_density = True  # whether `log_likelihood` is the log-density of continuous pixels
    is_discretized = False  # whether it is the log-probability of grey levels, 256 of them
    estimate_variance = False  # whether pixels drawn with `variance` need a better one

    @property
    def variance(self) -> float | None:
        """Of a pixel given the decoder's mean; `None` where pixels are not Gaussian."""
        return None

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.built = True  # weights, where there are any, do not depend on a shape

    def channels(self, image_channels: int) -> int:
        """How many the decoder's output has."""
        return image_channels

    def mean(self, output):
        """The expected image for the decoder's output."""
        return output

    def draw(self, output: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """An image for the decoder's output, which may leave [0, 1].

        Raises:
            InputError: pixels of this likelihood are not drawn.
        """
        if self.variance is None or self.estimate_variance:
            raise InputError("this likelihood says too little of pixels to draw them; leave it out, for their means")
        return output + math.sqrt(self.variance) * random.standard_normal(output.shape, dtype="float32")

    def scratch(self, inputs, outputs) -> int:
        """The errors, their squares and their weights (see `keras_ae/trust/sizes.py`)."""
        return 4 * math.prod(inputs[0][1:])


@keras.saving.register_keras_serializable("keras_ae")
class SquaredError(Likelihood):
    """The sum of squared errors: a Gaussian of variance 1/2, whose log-density is -SSE - (D/2) ln pi."""

    variance = 0.5
    estimate_variance = True

    def call(self, image, output, sample_weight=None, training=False):
        squared_error = _sum(ops.square(image - output))
        return squared_error, -squared_error - 0.5 * _size(image) * math.log(math.pi)


@keras.saving.register_keras_serializable("keras_ae")
class Bernoulli(Likelihood):
    """Cross-entropy of independent pixels; the decoder gives logits.

    A probability for pixels of 0 or 1. On grey pixels it is not a density. Do not compare its ELBO with others.
    """

    output_bias = 0.0
    is_density = False

    def call(self, image, output, sample_weight=None, training=False):
        # As rows: over a last axis of one channel XLA computes each exponential by itself, ten times as slowly.
        image, output = (ops.reshape(x, (-1, _size(image))) for x in (image, output))
        # max(o, 0) - o x + ln(1 + exp(-|o|)): stable for every logit
        per_pixel = ops.relu(output) - output * image + ops.log1p(ops.exp(-ops.abs(output)))
        cross_entropy = ops.sum(per_pixel, axis=1)
        return cross_entropy, -cross_entropy

    def mean(self, output):
        return ops.sigmoid(output)

    def draw(self, output, random):
        return (random.random(output.shape, dtype="float32") < 1 / (1 + np.exp(-output))).astype("float32")


class SharedGaussian(Likelihood):
    """A Gaussian of one variance for all pixels (Rybkin et al. 2021, "Simple and effective VAE training with
    calibrated decoders", section 3); `reconstruction` is the exact negative log-density."""

    def _terms(self, squared_error, image, log_variance):
        log_normalizer = _size(image) * (log_variance + math.log(2 * math.pi))
        reconstruction = 0.5 * (squared_error * ops.exp(-log_variance) + log_normalizer)
        return reconstruction, -reconstruction


@keras.saving.register_keras_serializable("keras_ae")
class LearnedGaussian(SharedGaussian):
    """The shared variance is a weight, trained by gradient descent with the rest."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.log_variance = self.add_weight(name="log_variance", shape=(), initializer="zeros")

    @property
    def variance(self):
        return math.exp(ops.convert_to_numpy(self.log_variance.value))

    def call(self, image, output, sample_weight=None, training=False):
        return self._terms(_sum(ops.square(image - output)), image, ops.convert_to_tensor(self.log_variance))


@keras.saving.register_keras_serializable("keras_ae")
class OptimalGaussian(SharedGaussian):
    """The shared variance is the best one for the batch: its mean squared error (Rybkin et al. 2021, equation 6).

    The model keeps a running average while training. Evaluation uses that, so that an image's ELBO
    does not depend on its neighbours.
    """

    momentum = 0.99

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.average = self.add_weight(name="variance", shape=(), initializer="ones", trainable=False)
        self.updates = self.add_weight(name="updates", shape=(), initializer="zeros", trainable=False)

    @property
    def variance(self):
        return float(ops.convert_to_numpy(self.average.value))

    def call(self, image, output, sample_weight=None, training=False):
        squared_error = _sum(ops.square(image - output))
        average = ops.convert_to_tensor(self.average)
        variance = average
        if training:
            weight = _weight(squared_error, sample_weight)
            counts = ops.cast(backends.total(ops.sum(weight)) > 0, "float32")  # 0 for a batch without any weight
            measured = ops.stop_gradient(weighted_mean(squared_error, sample_weight) / _size(image))
            measured = ops.maximum(measured, 1e-8)  # a perfect batch
            variance = ops.where(counts > 0, measured, average)
            # A plain average at first, so that the initial value leaves no trace.
            keep = ops.minimum(self.momentum, self.updates / (self.updates + 1.0))
            self.average.assign(ops.where(counts > 0, keep * average + (1.0 - keep) * measured, average))
            self.updates.assign_add(counts)
        return self._terms(squared_error, image, ops.log(variance))


def weighted_mean(values, sample_weight=None):
    """The mean over the batch of values (batch, ...), in which image i counts `sample_weight[i]` times.

    Of all devices' batches together; 0 where all weights are 0.

    >>> float(weighted_mean(ops.array([1.0, 5.0]), ops.array([3.0, 1.0])))
    2.0
    """
    weight = _weight(values, sample_weight)
    weight = ops.reshape(weight, (-1,) + (1,) * (len(values.shape) - 1))
    total = backends.total(ops.sum(weight))
    return backends.total(ops.sum(values * weight, axis=0)) / ops.where(total > 0, total, 1.0)


def _weight(values, sample_weight):
    """(batch,), 1 for each image where no weights are given."""
    if sample_weight is not None:
        return sample_weight
    return ops.ones((ops.shape(values)[0],), dtype="float32")


def _sum(values):
    return ops.sum(values, axis=(1, 2, 3))


def _size(image) -> int:
    return math.prod(image.shape[1:])
