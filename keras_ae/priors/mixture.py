"""A mixture of Gaussians."""

import keras
import numpy as np
from keras import ops

from keras_ae.errors import InputError
from keras_ae.objectives import log_normal_pairs
from keras_ae.priors.base import Prior, named


class Mixture(Prior):
    """Gaussians of which each draw comes from one. A subclass says which they are.

    Args:
        components: how many.

    Raises:
        InputError: less than 1.

    >>> issubclass(GaussianMixture, Mixture)
    True
    """

    number = ("components", int)

    def __init__(self, components: int, **kwargs):
        super().__init__(**kwargs)
        if components < 1:
            raise InputError(f"{components} components are not possible; give 1 or more")
        self.components = components

    def gaussians(self, encode=None):
        """Means and log-variances (components, latents), and the logarithms of the weights (components,)."""
        raise NotImplementedError

    def log_prob(self, z, encode=None):
        means, log_vars, log_weights = self.gaussians(encode)
        return ops.logsumexp(log_normal_pairs(self.flat(z), means, log_vars) + log_weights, axis=1)

    def sample(self, n, random, temperature=1.0, encode=None):
        means, log_vars, log_weights = (ops.convert_to_numpy(part) for part in self.gaussians(encode))
        ends = np.cumsum(np.exp(log_weights.astype("float64")))
        chosen = np.searchsorted(ends / ends[-1], random.random(n), side="right")
        spread = temperature * np.exp(0.5 * log_vars[chosen]).reshape(n, *self.latent_shape)
        return means[chosen].reshape(n, *self.latent_shape) + spread * self.noise(n, random)

    def step(self, encode=None):
        means, log_vars, log_weights = (ops.convert_to_numpy(part) for part in self.gaussians(encode))
        ends = np.cumsum(np.exp(log_weights.astype("float64")))
        ends = (ends / ends[-1]).astype("float32")
        noise, share = keras.Input(self.latent_shape, name="noise"), keras.Input((), name="share")
        chosen = ops.sum(ops.cast(share[:, None] >= ends, "int32"), axis=1)
        mean, spread = (ops.take(rows, chosen, axis=0) for rows in (means, np.exp(0.5 * log_vars)))
        z = mean + spread * ops.reshape(noise, (-1, self.latents))
        return keras.Model([noise, share], named(ops.reshape(z, (-1, *self.latent_shape)), "z"))

    def scratch(self, inputs, outputs) -> int:
        """The densities of all components."""
        return 4 * (self.latents + self.components)

    def get_config(self):
        return {**super().get_config(), "components": self.components}


@keras.saving.register_keras_serializable("keras_ae")
class GaussianMixture(Mixture):
    """A mixture whose means, variances and weights are trained.

    Args:
        components: Gaussians.

    >>> prior = GaussianMixture(components=3)
    >>> prior.build((None, 2))
    >>> len(prior.log_prob(ops.zeros((4, 2))))
    4
    """

    def __init__(self, components: int = 100, **kwargs):
        super().__init__(components, **kwargs)

    def build(self, latent_shape, image_shape=None, codes=None):
        super().build(latent_shape)
        shape = (self.components, self.latents)
        self.means = self.add_weight(name="means", shape=shape, initializer=keras.initializers.RandomNormal(stddev=1.0))
        self.log_vars = self.add_weight(name="log_vars", shape=shape, initializer="zeros")
        self.logits = self.add_weight(name="logits", shape=(self.components,), initializer="zeros")

    def gaussians(self, encode=None):
        means, log_vars, logits = map(ops.convert_to_tensor, (self.means, self.log_vars, self.logits))
        return means, log_vars, ops.log_softmax(logits)
