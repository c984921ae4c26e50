"""What stands between encoder and decoder: from the encoder's outputs to draws."""

import math
from typing import ClassVar

import keras


class Latent(keras.layers.Layer):
    """A kind of code, a vector (batch, d) or spatial (batch, h, w, c).

    Attributes:
        heads: name -> initializer of the kernel, of each output of the encoder, in their order.
        channels: of a spatial code, where nothing else is said.
        default_prior, default_objective: their names, where nothing else is said.
        is_random: whether a code is drawn from a Gaussian posterior.
        is_discrete: whether a place of the code is one of a number of codes, and priors are of their numbers (tokens).
        costs: names of the vectors that `Draw.costs` adds to the loss.

    >>> import keras_ae
    >>> keras_ae.build_vae((8, 8, 1), (4, 4, 2), width=4).latent_shape
    (4, 4, 2)
    """

    heads: ClassVar[dict[str, str]]
    channels = 4
    default_prior = "standard"
    default_objective = "elbo"
    is_random = False
    is_discrete = False
    costs: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, latent_shape):
        """Makes the weights.

        Args:
            latent_shape: with the batch first.
        """
        self.latent_shape = tuple(latent_shape[1:])
        self.built = True

    def get_build_config(self):
        """None: a loaded model builds its latent for its own networks."""

    def build_from_config(self, config):
        """The same, whatever a file says."""

    @property
    def size(self) -> str:
        """How much a code holds, in words."""
        return f"{math.prod(self.latent_shape)} latents"

    def check(self, latent_shape: tuple[int, ...], objective) -> None:
        """Returns if the code can have that shape, and the objective can do with its draws.

        Raises:
            InputError: it cannot.
        """

    def posterior(self, outputs, noise, prior, objective, encode=None, training=False):
        """Draws from the posterior of a batch, as a `Draw`, and the credit that the objective gave them.

        Args:
            outputs: the encoder's, each (batch, *latent_shape).
            noise: standard normal, (batch x k, *latent_shape): k draws an image.
            prior, objective: a `Prior` and an `Objective`, which says k and may watch the draws.
            encode: as priors take it.
            training: whether a codebook moves.
        """
        raise NotImplementedError

    def mode(self, outputs):
        """The code (batch, *latent_shape) that stands for an image where nothing is drawn."""
        raise NotImplementedError

    def encoded(self, outputs):
        """What `VAE.encode` gives, of the encoder's outputs in NumPy."""
        raise NotImplementedError

    def decodable(self, drawn):
        """The code, in NumPy, of what a prior drew or `encoded` gave."""
        return drawn

    def metric(self) -> keras.metrics.Metric:
        """Of how much the code carries, from what `measured` gives."""
        raise NotImplementedError

    def measured(self, draw):
        """What `metric` is updated with: an array of a batch's images."""
        raise NotImplementedError
