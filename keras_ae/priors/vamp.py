"""The VampPrior."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae.priors.mixture import Mixture


@keras.saving.register_keras_serializable("keras_ae")
class VampPrior(Mixture):
    """The mean of the posteriors of trained pseudo-images: (1/K) sum_k q(z | u_k) (Tomczak & Welling 2018, "VAE with a
    VampPrior", equation 9). Where the encoder takes labels, those of the pseudo-images take turns.

    Args:
        components: pseudo-images, in [0, 1]. They start at training images with `VAE.adapt`, else at random greys.

    >>> import keras_ae
    >>> vae = keras_ae.build_vae((8, 8, 1), 2, prior="vamp:3", width=4)
    >>> vae.sample(2, seed=0).shape
    (2, 8, 8, 1)
    """

    def __init__(self, components: int = 500, **kwargs):
        super().__init__(components, **kwargs)

    @property
    def images(self) -> int:
        return self.components

    def build(self, latent_shape, image_shape=None, codes=None):
        super().build(latent_shape)
        self.pseudo_images = self.add_weight(
            name="pseudo_images",
            shape=(self.components, *image_shape[1:]),
            initializer=keras.initializers.RandomUniform(0.0, 1.0),
            constraint=_in_range,
        )

    def adapt(self, split) -> None:
        places = np.random.default_rng(0).choice(len(split), self.components, replace=len(split) < self.components)
        self.pseudo_images.assign(split.batch(places)["image"])

    def gaussians(self, encode=None):
        z_mean, z_log_var = encode(ops.convert_to_tensor(self.pseudo_images))
        log_weights = ops.full((self.components,), -math.log(self.components))
        return self.flat(z_mean), self.flat(z_log_var), log_weights

    def scratch(self, inputs, outputs) -> int:
        """The densities of all components. What encodes the pseudo-images is counted as images."""
        return 4 * (self.latents + self.components)


def _in_range(images):
    return ops.clip(images, 0.0, 1.0)
