"""A code without noise."""

import math
from typing import ClassVar

import keras
from keras import ops

from keras_ae.errors import InputError
from keras_ae.latents.base import Latent
from keras_ae.objectives import ActiveUnits, Draw


@keras.saving.register_keras_serializable("keras_ae")
class Deterministic(Latent):
    """The code is what the encoder gives, as in a plain autoencoder. It has no prior until one is fitted to the codes
    (Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4), and no bound: its objective is
    the reconstruction alone.

    >>> list(Deterministic().heads)
    ['code']
    """

    heads: ClassVar[dict[str, str]] = {"code": "glorot_uniform"}
    default_objective = "reconstruction"

    def check(self, latent_shape, objective) -> None:
        if "kl" in objective.names:
            raise InputError("a code without noise has no KL: take the objective 'reconstruction'")

    def posterior(self, outputs, noise, prior, objective, encode=None, training=False):
        (z,) = outputs
        zeros = ops.zeros_like(prior.flat(z)[:, 0])
        return Draw(z, z, None, zeros[:, None], zeros, zeros), None

    def mode(self, outputs):
        return outputs[0]

    def encoded(self, outputs):
        return outputs[0]

    def metric(self):
        return ActiveUnits(math.prod(self.latent_shape))

    def measured(self, draw):
        return ops.reshape(draw.z, (-1, math.prod(self.latent_shape)))

    def scratch(self, inputs, outputs) -> int:
        """Nothing beside what the model counts."""
        return 0
