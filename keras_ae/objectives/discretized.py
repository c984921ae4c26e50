"""p(image | z) of pixels that are one of 256 grey levels: logistic distributions, each over the width of its level.

Their log-likelihoods are of discrete pixels, so that bits per dimension compare with those of papers.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_ae.errors import InputError
from keras_ae.objectives.likelihoods import Likelihood

HALF = 1 / 255  # of a level's width, where grey is between -1 and 1
MIN_LOG_SCALE = -7.0
MOST_COMPONENTS = 100


class Discretized(Likelihood):
    """Of the decoder's output the channels are `components` sets of parameters for each pixel.

    `log_likelihood` is a log-probability in nats, summed over pixels and channels, and `reconstruction` its negative.
    """

    output_bias = 0.0  # the middle grey level, and scales of 1
    is_density = False
    is_discretized = True

    def call(self, image, output, sample_weight=None, training=False):
        grey = 2 * ops.round(255 * image) / 255 - 1
        log_likelihood = ops.sum(self.log_prob(grey, output), axis=(1, 2))
        return -log_likelihood, log_likelihood

    def log_prob(self, grey, output):
        """Of each pixel, (batch, height, width), for levels `grey` between -1 and 1."""
        raise NotImplementedError

    def scratch(self, inputs, outputs) -> int:
        """A dozen terms of each parameter."""
        return 12 * math.prod(inputs[0][1:-1]) * self.channels(inputs[0][-1])


@keras.saving.register_keras_serializable("keras_ae")
class DiscretizedLogistic(Discretized):
    """A logistic distribution for each pixel and channel (Kingma et al. 2016, "Improved variational inference with
    inverse autoregressive flow", section 4.2; Salimans et al. 2017, equation 2 with one component). The decoder gives
    means, between -1 and 1, and log-scales.

    >>> from keras_ae.objectives import get_likelihood
    >>> get_likelihood("logistic").channels(3)
    6
    """

    def channels(self, image_channels: int) -> int:
        return 2 * image_channels

    def log_prob(self, grey, output):
        mean, log_scale = ops.split(output, 2, axis=-1)
        return ops.sum(log_mass(grey, mean, log_scale), axis=-1)

    def mean(self, output):
        mean, log_scale = ops.split(output, 2, axis=-1)
        return (1 + clipped_mean(mean, log_scale)) / 2

    def draw(self, output: np.ndarray, random: np.random.Generator) -> np.ndarray:
        mean, log_scale = np.split(output, 2, axis=-1)
        return (1 + _drawn(mean, log_scale, random)) / 2


@keras.saving.register_keras_serializable("keras_ae")
class LogisticMixture(Discretized):
    """A mixture of logistic distributions for each pixel. The channels share the component, and the mean of each
    depends linearly on those before it (Salimans et al. 2017, "PixelCNN++", equations 1 to 3).

    The decoder gives, for each component, the logit of its share, means, log-scales, and for channels after the first
    the coefficients of those before it (through tanh).

    Args:
        components: of the mixture.

    Raises:
        InputError: less than 1 component, or more than 100.

    >>> LogisticMixture(components=10).channels(3)
    100
    """

    number = ("components", int)

    def __init__(self, components: int = 5, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= components <= MOST_COMPONENTS:
            raise InputError(f"{components} components are not possible; give 1 to {MOST_COMPONENTS}")
        self.components = components

    def channels(self, image_channels: int) -> int:
        return self.components * (1 + 2 * image_channels + image_channels * (image_channels - 1) // 2)

    def parameters(self, output, module=ops):
        """(batch, height, width, components), and of each channel mean, log-scale, and the coefficients of the
        channels before it."""
        sets = output.shape[-1] // self.components
        channels = round(math.sqrt(2 * sets + 0.25) - 1.5)  # 1 + 2 c + c (c - 1) / 2 sets
        parts = module.split(output, sets, axis=-1)
        logits, means, log_scales = parts[0], parts[1 : 1 + channels], parts[1 + channels : 1 + 2 * channels]
        rest = iter(parts[1 + 2 * channels :])
        return logits, [
            (means[channel], log_scales[channel], [module.tanh(next(rest)) for _ in range(channel)])
            for channel in range(channels)
        ]

    def log_prob(self, grey, output):
        logits, channels = self.parameters(output)
        total, before = ops.log_softmax(logits, axis=-1), []
        for number, (mean, log_scale, coefficients) in enumerate(channels):
            level = grey[..., number : number + 1]
            total = total + log_mass(level, _shifted(mean, coefficients, before), log_scale)
            before.append(level)
        return ops.logsumexp(total, axis=-1)

    def mean(self, output):
        """Each component's, with the means of the channels before, and weighted."""
        logits, channels = self.parameters(output)
        shares, before, means = ops.softmax(logits, axis=-1), [], []
        for mean, log_scale, coefficients in channels:
            before.append(clipped_mean(_shifted(mean, coefficients, before), log_scale))
            means.append(ops.sum(shares * before[-1], axis=-1))
        return (1 + ops.stack(means, axis=-1)) / 2

    def draw(self, output: np.ndarray, random: np.random.Generator) -> np.ndarray:
        logits, channels = self.parameters(output, np)
        chosen = (logits + random.gumbel(size=logits.shape)).argmax(-1)[..., None]
        before = []
        for parameters in channels:
            mean, log_scale, *coefficients = (
                np.take_along_axis(x, chosen, axis=-1) for x in (*parameters[:2], *parameters[2])
            )
            before.append(_drawn(_shifted(mean, coefficients, before), log_scale, random))
        return (1 + np.concatenate(before, axis=-1)) / 2

    def get_config(self):
        return {**super().get_config(), "components": self.components}


def log_mass(grey, mean, log_scale):
    """The log-probability of a level: of what the logistic distribution has within 1/255 of it. The darkest level takes
    all below, and the brightest all above."""
    log_scale = ops.maximum(log_scale, MIN_LOG_SCALE)
    inverse = ops.exp(-log_scale)
    above, below = (grey + HALF - mean) * inverse, (grey - HALF - mean) * inverse
    # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)), where nothing cancels
    from_below, from_above = ops.log_sigmoid(above), ops.log_sigmoid(-below)
    inside = from_below + from_above + ops.log(-ops.expm1(-2 * HALF * inverse))
    return ops.where(grey < -1 + HALF, from_below, ops.where(grey > 1 - HALF, from_above, inside))


def clipped_mean(mean, log_scale):
    """Of a logistic distribution whose values below -1 and above 1 are -1 and 1, to within half a level."""
    scale = ops.exp(ops.maximum(log_scale, MIN_LOG_SCALE))
    return scale * (ops.softplus((1 + mean) / scale) - ops.softplus((mean - 1) / scale)) - 1


def _shifted(mean, coefficients, before):
    for coefficient, value in zip(coefficients, before, strict=True):
        mean = mean + coefficient * value
    return mean


def _drawn(mean: np.ndarray, log_scale: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Levels between -1 and 1."""
    scale = np.exp(np.maximum(log_scale, MIN_LOG_SCALE))
    grey = np.clip(mean + scale * random.logistic(size=mean.shape), -1, 1)
    return 2 * np.round(255 * (1 + grey) / 2) / 255 - 1
