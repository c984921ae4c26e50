"""Finite scalar quantisation."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.latents.quantizer import Quantizer
from keras_ae.objectives.base import not_below_0

MARGIN = 1e-3  # by which the range exceeds the outermost levels, or 2 levels would have no middle
MOST_CODES = 2**20


def levels_of(text: str) -> tuple[int, ...]:
    """ "8x8x8" -> (8, 8, 8)."""
    return tuple(map(int, text.split("x")))


@keras.saving.register_keras_serializable("keras_ae")
class FSQ(Quantizer):
    """Each feature of a place is bounded and rounded to one of a few levels (Mentzer et al. 2024, "Finite scalar
    quantization: VQ-VAE made simple", section 3 and appendix A). There is no codebook, and nothing to collapse.

    The vectors that the decoder is given lie between -1 and 1.

    Args:
        levels: of each feature, 2 or more; 5 or more are better. The paper has 8x6x5 for 2^8 codes, 8x5x5x5 for 2^10,
            7x5x5x5x5 for 2^12, 8x8x8x6x5 for 2^14, 8x8x8x5x5x5 for 2^16.
        entropy: weight, such as 0.03, of what a batch's codes lack of being used evenly: log(codes) less their
            entropy, in nats for each place. Codes are counted softly, by how near a feature is to the levels on both
            sides of it, so that there is a gradient (after Yu et al. 2024, "Language model beats diffusion: tokenizer
            is key to visual generation", equation 5).

    Raises:
        InputError: no levels, less than 2 of a feature, more than 2^20 codes, or a weight below 0.

    >>> fsq = FSQ((8, 5, 5, 5))
    >>> fsq.codes, fsq.channels
    (1000, 4)
    """

    number = ("levels", levels_of, "several, as 8x8x8,")

    def __init__(self, levels=(8, 8, 8), entropy: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        not_below_0(entropy=entropy)
        self.levels = tuple(levels)
        self.entropy = entropy
        self.costs = ("entropy_gap",) if entropy else ()
        if not self.levels or min(self.levels) < 2 or math.prod(self.levels) > MOST_CODES:
            raise InputError(
                f"levels {'x'.join(map(str, self.levels))} are not possible; give 2 or more of each feature, as 8x8x8, "
                f"of {MOST_CODES:,} codes at most"
            )
        self.codes = math.prod(self.levels)
        self.channels = len(self.levels)

    def check(self, latent_shape, objective) -> None:
        super().check(latent_shape, objective)
        if latent_shape[-1] != self.channels:
            raise InputError(
                f"a code of the shape {latent_shape} does not fit {self.channels} features with levels; "
                f"give (height, width) of a spatial code, or {(*latent_shape[:-1], self.channels)}"
            )

    def quantized(self, features, training=False):
        levels = np.array(self.levels)
        half = (levels - 1) * (1 + MARGIN) / 2
        offset = np.where(levels % 2, 0, 0.5)  # an even number has no level in the middle
        shift, half, offset = map(_constant, (np.arctanh(offset / half), half, offset))
        bounded = half * ops.tanh(features + shift) - offset
        rounded = ops.round(bounded)
        digits = ops.cast(rounded, "int32") + _constant(self._middle)
        tokens = ops.sum(digits * _constant(self._place_values), axis=-1)
        z = (bounded + ops.stop_gradient(rounded - bounded)) * self._scale
        costs = {"entropy_gap": self._entropy_gap(bounded)} if self.entropy else {}
        return ops.cast(tokens, "int32"), z, costs

    def _entropy_gap(self, bounded):
        """The weighted cost of a batch's uneven codes, the same for each image."""
        usage = self.usage(bounded)
        gap = ops.sum(usage * ops.log(ops.maximum(usage, 1e-12))) + math.log(self.codes)
        return ops.broadcast_to(self.entropy * self.places * gap, ops.shape(bounded)[:1])

    def usage(self, bounded):
        """The share of each code (codes,), interpolated between the levels on both sides of each feature.

        Args:
            bounded: features in units of a level, (batch, ..., channels).
        """
        lowest = -self._middle
        highest = lowest + np.array(self.levels) - 1
        flat = ops.reshape(bounded, (-1, 1, self.channels))
        flat = ops.clip(flat, *map(_constant, (lowest.astype("float32"), highest.astype("float32"))))
        below = ops.clip(ops.floor(flat), *map(_constant, (lowest.astype("float32"), highest - 1.0)))
        corners = np.indices([2] * self.channels).reshape(self.channels, -1).T  # (corners, channels) of 0 and 1
        near = _constant(corners * 2.0 - 1) * (flat - below) + _constant(1.0 - corners)
        weights = ops.ravel(ops.prod(near, axis=-1))
        digits = ops.cast(below, "int32") + _constant(corners - lowest)
        tokens = ops.ravel(ops.sum(digits * _constant(self._place_values), axis=-1))
        counts = backends.total(ops.segment_sum(weights, tokens, self.codes))
        return counts / ops.sum(counts)

    def vectors(self, tokens):
        digits = ops.floor_divide(tokens[..., None], _constant(self._place_values))
        digits = ops.mod(digits, _constant(np.array(self.levels)))
        return ops.cast(digits - _constant(self._middle), "float32") * self._scale

    @property
    def _middle(self) -> np.ndarray:
        """The digit of each feature whose value is 0."""
        return np.array(self.levels) // 2

    @property
    def _scale(self):
        return _constant(1 / self._middle)

    @property
    def _place_values(self) -> np.ndarray:
        """Of each feature's digit in a token: the first counts least."""
        return np.cumprod([1, *self.levels[:-1]])

    def scratch(self, inputs, outputs) -> int:
        """Tokens, vectors and what is rounded on the way: no more than the model counts. Counted softly, they lie
        between 2 levels of each feature."""
        return 2**self.channels * (2 * self.channels + 2) * self.places if self.entropy else 0

    def get_config(self):
        return {**super().get_config(), "levels": list(self.levels), "entropy": self.entropy}


def _constant(values: np.ndarray):
    return ops.convert_to_tensor(values, "float32" if values.dtype.kind == "f" else "int32")
