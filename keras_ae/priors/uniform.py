"""The uniform prior over tokens."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae.priors.base import Prior


@keras.saving.register_keras_serializable("keras_ae")
class Uniform(Prior):
    """Each token is any of the codes, independently of the others.

    >>> prior = Uniform()
    >>> prior.build((None, 2, 2, 3), codes=16)
    >>> round(float(prior.log_prob(ops.zeros((1, 2, 2), "int32"))[0]) / math.log(16))
    -4
    """

    is_of_tokens = True

    def log_prob(self, z, encode=None):
        return ops.full(ops.shape(z)[:1], -self.places * math.log(self.codes), "float32")

    def sample(self, n, random, temperature=1.0, encode=None):
        return random.integers(0, self.codes, (n, *self.latent_shape[:-1]), dtype=np.int32)

    def scratch(self, inputs, outputs) -> int:
        """A number for each image."""
        return 1
