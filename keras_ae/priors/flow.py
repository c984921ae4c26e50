"""A RealNVP flow."""

import math

import keras
import numpy as np
from keras import layers, ops

from keras_ae.errors import InputError
from keras_ae.priors.base import Prior, named

MOST_LAYERS = 64
HIDDEN = 128  # features of the two layers within a coupling
LARGEST = 2.0  # of a log-scale


@keras.saving.register_keras_serializable("keras_ae")
class FlowPrior(Prior):
    """Latents that couplings turn into noise: z -> N(0, I) (Dinh et al. 2017, "Density estimation using Real NVP",
    equations 4 to 8). Each permutes the latents; half of them then scale and shift the others. Before training
    it is the standard normal.

    Args:
        layers: couplings.
        hidden: features of the two layers within each.

    Raises:
        InputError: less than 1 layer or more than 64; a single latent, which has no others.

    >>> prior = FlowPrior(layers=2)
    >>> prior.build((None, 4))
    >>> len(prior.log_prob(ops.zeros((3, 4))))
    3
    """

    number = ("layers", int)

    def __init__(self, layers: int = 6, hidden: int = HIDDEN, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= layers <= MOST_LAYERS:
            raise InputError(f"a flow of {layers} layers is not possible; give 1 to {MOST_LAYERS}")
        self.layers = layers
        self.hidden = hidden

    def build(self, latent_shape, image_shape=None, codes=None):
        super().build(latent_shape)
        if self.latents < 2:
            raise InputError("a flow couples latents with one another; give it 2 or more")
        fixed = self.latents // 2
        self.orders = [np.random.default_rng(number).permutation(self.latents) for number in range(self.layers)]
        self.couplings = [self._coupling(fixed, self.latents - fixed) for _ in self.orders]

    def _coupling(self, fixed: int, changed: int) -> keras.Model:
        """The fixed latents -> shift and log-scale of the changed ones."""
        z = keras.Input((fixed,))
        x = z
        for _ in range(2):
            x = layers.Dense(self.hidden, activation="relu", dtype="float32")(x)
        return keras.Model(z, layers.Dense(2 * changed, kernel_initializer="zeros", dtype="float32")(x))

    def log_prob(self, z, encode=None):
        noise, log_determinant = self.to_noise(self.flat(z))
        log_density = -0.5 * ops.sum(ops.square(noise) + math.log(2 * math.pi), axis=1)
        return log_density + log_determinant

    def to_noise(self, z):
        """Latents (n, latents) -> their noise, and the logarithm of how much the volume grows (n,)."""
        log_determinant = 0.0
        for order, coupling in zip(self.orders, self.couplings, strict=True):
            fixed, changed = self._parts(ops.take(z, order, axis=1))
            shift, log_scale = self._shift_and_scale(coupling, fixed)
            z = ops.concatenate([fixed, changed * ops.exp(log_scale) + shift], axis=1)
            log_determinant = log_determinant + ops.sum(log_scale, axis=1)
        return z, log_determinant

    def from_noise(self, noise):
        """The latents of noise, both (n, latents)."""
        z = noise
        for order, coupling in zip(reversed(self.orders), reversed(self.couplings), strict=True):
            fixed, changed = self._parts(z)
            shift, log_scale = self._shift_and_scale(coupling, fixed)
            z = ops.concatenate([fixed, (changed - shift) * ops.exp(-log_scale)], axis=1)
            z = ops.take(z, np.argsort(order), axis=1)
        return z

    def _parts(self, z):
        fixed = self.latents // 2
        return z[:, :fixed], z[:, fixed:]

    def _shift_and_scale(self, coupling, fixed):
        shift, scale = ops.split(coupling(fixed), 2, axis=1)
        return shift, LARGEST * ops.tanh(scale)

    def sample(self, n, random, temperature=1.0, encode=None):
        noise = self.noise(n, random).reshape(n, -1) * np.float32(temperature)
        return ops.convert_to_numpy(self.from_noise(ops.convert_to_tensor(noise))).reshape(n, *self.latent_shape)

    def step(self, encode=None):
        noise = keras.Input(self.latent_shape, name="noise")
        z = self.from_noise(ops.reshape(noise, (-1, self.latents)))
        return keras.Model([noise], named(ops.reshape(z, (-1, *self.latent_shape)), "z"))

    def scratch(self, inputs, outputs) -> int:
        """What all couplings compute."""
        return self.layers * (8 * self.latents + 2 * self.hidden)

    def get_config(self):
        return {**super().get_config(), "layers": self.layers, "hidden": self.hidden}
