"""The diagonal Gaussian posterior."""

import math
from typing import ClassVar

import keras
from keras import ops

from keras_ae.latents.base import Latent
from keras_ae.objectives import ActiveUnits, Draw, entropy, log_normal, reparameterize


@keras.saving.register_keras_serializable("keras_ae")
class Gaussian(Latent):
    """q(z | x) = N(z_mean, exp(z_log_var)), independent in each latent (Kingma & Welling 2014, equation 9).

    >>> list(Gaussian().heads)
    ['z_mean', 'z_log_var']
    """

    heads: ClassVar[dict[str, str]] = {"z_mean": "glorot_uniform", "z_log_var": "zeros"}
    is_random = True

    def posterior(self, outputs, noise, prior, objective, encode=None, training=False):
        z_mean, z_log_var = outputs
        mean, log_var = (x if objective.k == 1 else ops.repeat(x, objective.k, axis=0) for x in outputs)
        z, credit = objective.watch(reparameterize(mean, log_var, noise))
        own = [ops.stop_gradient(x) if objective.through_z else x for x in (mean, log_var)]
        log_q = ops.sum(prior.flat(log_normal(z, *own)), axis=1)
        log_p = prior.log_prob(z, encode)
        kl = prior.kl(mean, log_var)
        if kl is None:  # the entropy is known: only the prior needs the draw
            kl = -ops.sum(prior.flat(entropy(log_var)), axis=1, keepdims=True) - log_p[:, None]
        return Draw(z, z_mean, z_log_var, kl, log_q, log_p), credit

    def mode(self, outputs):
        return outputs[0]

    def encoded(self, outputs):
        return tuple(outputs)

    def metric(self):
        return ActiveUnits(math.prod(self.latent_shape))

    def measured(self, draw):
        return ops.reshape(draw.z_mean, (-1, math.prod(self.latent_shape)))

    def scratch(self, inputs, outputs) -> int:
        """Nothing beside what the model counts: means, variances and draws."""
        return 0
