"""The standard normal prior."""

import keras
from keras import ops

from keras_ae.objectives import kl_per_latent, log_normal
from keras_ae.priors.base import Prior


@keras.saving.register_keras_serializable("keras_ae")
class StandardNormal(Prior):
    """N(0, I), whose KL has a closed form (Kingma & Welling 2014, appendix B).

    >>> prior = StandardNormal()
    >>> prior.build((None, 2))
    >>> round(float(prior.log_prob(ops.zeros((1, 2)))[0]), 4)
    -1.8379
    """

    is_standard = True

    def log_prob(self, z, encode=None):
        zeros = ops.zeros_like(z)
        return ops.sum(self.flat(log_normal(z, zeros, zeros)), axis=1)

    def kl(self, z_mean, z_log_var):
        return self.flat(kl_per_latent(z_mean, z_log_var))

    def sample(self, n, random, temperature=1.0, encode=None):
        return self.noise(n, random) * temperature

    def scratch(self, inputs, outputs) -> int:
        """The density of each latent."""
        return 2 * self.latents
