"""What stands for the codes of all images before one is seen: p(z), in nats."""

import math

import keras
import numpy as np

from keras_ae.errors import InputError

DROPPED = -1.2815515655446004  # a normal number is below it once in ten times: so often a label is left out
MOST_BLOCKS = 100  # of a network: a file may ask for any number


class Prior(keras.layers.Layer):
    """A density of latents, trained jointly with the model.

    `build` makes its weights for latents of a shape. `encode` is what a prior may use of the model: the posterior's
    (mean, log-variance) of images.

    >>> import keras_ae
    >>> vae = keras_ae.build_vae((8, 8, 1), 2, prior="flow", width=4)
    >>> vae.prior.sample(5, np.random.default_rng(0)).shape
    (5, 2)
    """

    images = 0  # that it encodes itself
    classes = 0  # of which it has a density each
    has_network = False  # that `models.PriorFit` trains on codes
    takes: tuple[str, ...] = ()  # what else `sample` takes: "guidance", how much a label counts; "top_p"
    is_standard = False  # whether it is N(0, I)
    is_of_tokens = False  # whether its latents are the numbers of codes

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, latent_shape, image_shape=None, codes=None):
        """Makes the weights.

        Args:
            latent_shape, image_shape: with the batch first.
            codes: how many there are, of a latent with tokens.
        """
        self.latent_shape = tuple(latent_shape[1:])
        self.codes = codes
        self.built = True

    def get_build_config(self):
        """None: a loaded model builds its prior for its own latents."""

    def build_from_config(self, config):
        """The same, whatever a file says."""

    @property
    def latents(self) -> int:
        return math.prod(self.latent_shape)

    @property
    def places(self) -> int:
        """Of a spatial code: as many as an image has tokens."""
        return math.prod(self.latent_shape[:-1])

    def log_prob(self, z, encode=None):
        """log p(z) of latents (n, *latent_shape): (n,)."""
        raise NotImplementedError

    def kl(self, z_mean, z_log_var):
        """KL(q || p) of Gaussians (n, *latent_shape), exact and of each latent: (n, latents). `None` where no formula
        is known."""

    def sample(self, n: int, random: np.random.Generator, temperature: float = 1.0, encode=None) -> np.ndarray:
        """Draws latents (n, *latent_shape), with noise of NumPy. A prior of `classes` takes `labels` (n,) as well,
        and what it `takes` besides."""
        raise NotImplementedError

    def step(self, encode=None) -> keras.Model | None:
        """One step of `sample` as a functional model with named inputs and outputs, for exports. Its random numbers are
        inputs: `noise`, standard normal times the temperature, and `share`, uniform in [0, 1). `None` where there is
        nothing to compute: latents are the noise, or any tokens."""

    def for_codes(self, codes: np.ndarray, labels: np.ndarray | None, seed: int = 0) -> "Prior":
        """The prior for the codes of a trained model, (n, *latent_shape) or tokens (n, h, w), with labels (n,) below
        `classes`: fitted to them; one with a network is not trained yet. Only priors in `FITTED` have it."""
        return self

    def adapt(self, split) -> None:
        """Takes what depends on the training images from a `data.Split`."""

    def flat(self, z):
        """(n, *latent_shape) -> (n, latents)."""
        return keras.ops.reshape(z, (-1, self.latents))

    def noise(self, n: int, random: np.random.Generator) -> np.ndarray:
        """(n, *latent_shape), standard normal."""
        return random.standard_normal((n, *self.latent_shape), dtype="float32")


def named(x, name: str):
    """The tensor as an output of that name."""
    return keras.layers.Identity(name=name, dtype="float32")(x)


def check_network(width: int, blocks: int, multiple: int, most: int) -> None:
    """Returns if a prior's network can have these sizes.

    Raises:
        InputError: it cannot.
    """
    if width < multiple or width % multiple or not 1 <= blocks <= most:
        raise InputError(
            f"a width of {width} and {blocks} blocks are not possible; give a multiple of {multiple}, and 1 to "
            f"{most} blocks"
        )
