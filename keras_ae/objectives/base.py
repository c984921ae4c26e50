"""What a model and its objective say to each other."""

from types import MappingProxyType
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ae.errors import InputError


class Draw(NamedTuple):
    """Draws from the posterior of a batch, k an image, those of an image next to each other.

    Attributes:
        z: (batch x k, *latent_shape).
        z_mean, z_log_var: of a Gaussian posterior (batch, *latent_shape); else `None`.
        kl: (batch x k, groups), each group's KL from the posterior to the prior in nats: exact and a group for each
            latent where the prior knows it; else an estimate and one group. Of a hierarchy a group for each level.
        log_q, log_p: (batch x k,), the log-density of posterior and prior at z.
        tokens: the numbers (batch x k, ...) of a discrete code; else `None`.
        costs: what the latent adds to the loss, (batch x k,) by name.
        sizes: how many latents each group has, where they are not the same number.

    >>> Draw._fields
    ('z', 'z_mean', 'z_log_var', 'kl', 'log_q', 'log_p', 'tokens', 'costs', 'sizes')
    """

    z: Any
    z_mean: Any
    z_log_var: Any
    kl: Any
    log_q: Any
    log_p: Any
    tokens: Any = None
    costs: Any = MappingProxyType({})
    sizes: tuple[int, ...] | None = None


class Inference(NamedTuple):
    """All that a model infers of a batch: what an objective is made of.

    Attributes:
        draw: the `Draw`.
        reconstruction, log_likelihood: (batch x k,), from the likelihood, in nats.
        k: draws an image.
        credit: what `Objective.watch` gave with the draws.

    >>> draw = Draw(None, None, None, ops.ones((4, 2)), *ops.zeros((2, 4)))
    >>> inference = Inference(draw, ops.ones(4), ops.zeros(4), k=2)
    >>> ops.convert_to_numpy(inference.kl()).tolist()
    [2.0, 2.0]
    """

    draw: Draw
    reconstruction: Any
    log_likelihood: Any
    k: int = 1
    credit: Any = None

    def by_image(self, values):
        """(batch x k,) -> (batch, k)."""
        return ops.reshape(values, (-1, self.k))

    def mean_over_draws(self, values):
        """(batch x k,) -> (batch,)."""
        return values if self.k == 1 else ops.mean(self.by_image(values), axis=1)

    def kl(self):
        """(batch,), in nats."""
        return self.mean_over_draws(ops.sum(self.draw.kl, axis=-1))

    def log_weights(self):
        """log p(image, z) - log q(z | image) of each draw, (batch, k)."""
        return self.by_image(self.log_likelihood + self.draw.log_p - self.draw.log_q)


class Objective(keras.layers.Layer):
    """What is minimised, and what is reported of it.

    Attributes:
        k: draws from the posterior for each image.
        through_z: whether the gradient of the posterior's log-density reaches the encoder through the draws alone.
        names: of the vectors that `terms` gives, in the order of the reports.
        of_training: those of them that only a training reports.

    >>> import keras_ae
    >>> keras_ae.build_vae((8, 8, 1), 2, objective="iwae:5", width=4).objective.k
    5
    """

    k = 1
    through_z = False
    names: tuple[str, ...] = ("loss", "reconstruction", "kl", "elbo")
    of_training: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.built = True

    def terms(self, inference: Inference, *, step, sample_weight, training: bool) -> dict:
        """Vectors (batch,) by name, in nats: `loss` is minimised, `kl` is neither weighted nor clamped, and `elbo`
        is higher-is-better with weight 1.

        Args:
            step: updates done, a scalar; `None` outside a training.
            sample_weight: (batch,) or `None`.
        """
        raise NotImplementedError

    def settings(self) -> dict:
        """Variables that a training may change and no file of weights holds, by name."""
        return {}

    def watch(self, z):
        """The draws as prior and decoder see them, and what `Inference.credit` is to be."""
        return z, None

    def adapt(self, split) -> None:
        """Takes what depends on the training images from a `data.Split`."""

    def check_ready(self) -> None:
        """Returns if a training may begin.

        Raises:
            InputError: `adapt` is missing.
        """


def not_below_0(**numbers: float) -> None:
    """Returns if none of the numbers is below 0.

    Raises:
        InputError: one is.

    >>> not_below_0(beta=1.0)
    """
    for name, number in numbers.items():
        if not number >= 0:
            raise InputError(f"{name} {number} must not be below 0")


def mean_elbo(inference: Inference) -> dict:
    """The vectors that every objective reports, by name."""
    reconstruction, log_likelihood = map(
        inference.mean_over_draws, (inference.reconstruction, inference.log_likelihood)
    )
    kl = inference.kl()
    return {"reconstruction": reconstruction, "kl": kl, "elbo": log_likelihood - kl}
