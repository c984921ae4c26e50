"""What stands between encoder and decoder: from the encoder's outputs to draws."""

from typing import ClassVar

import keras


class Latent(keras.layers.Layer):
    """A kind of code, a vector (batch, d) or spatial (batch, h, w, c).

    Attributes:
        heads: name -> initializer of the kernel, of each output of the encoder, in their order.

    >>> import keras_ae
    >>> keras_ae.build_vae((8, 8, 1), (4, 4, 2), width=4).latent_shape
    (4, 4, 2)
    """

    heads: ClassVar[dict[str, str]]

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.built = True

    def posterior(self, outputs, noise, prior, objective, encode=None):
        """Draws from the posterior of a batch, as a `Draw`, and the credit that the objective gave them.

        Args:
            outputs: the encoder's, each (batch, *latent_shape).
            noise: standard normal, (batch x k, *latent_shape): k draws an image.
            prior, objective: a `Prior` and an `Objective`, which says k and may watch the draws.
            encode: as priors take it.
        """
        raise NotImplementedError

    def mode(self, outputs):
        """The code (batch, *latent_shape) that stands for an image where nothing is drawn."""
        raise NotImplementedError
