"""The importance-weighted bound."""

import math

import keras
from keras import ops

from keras_ae.errors import InputError
from keras_ae.objectives.base import Inference, Objective, mean_elbo

MOST_DRAWS = 10_000


@keras.saving.register_keras_serializable("keras_ae")
class IWAE(Objective):
    """log (1/k) sum_i p(x, z_i) / q(z_i | x) over k draws: a bound on log p(x) that grows with k (Burda et al. 2016,
    "Importance weighted autoencoders", equation 8). The loss is its negative. `elbo` is the bound of one draw.

    A weight of the KL, its warm-up, free bits and regularizers have no place in it.

    Args:
        k: draws from the posterior for each image.
        dreg: whether the encoder's gradient is the doubly reparameterised one, whose variance does not grow with k
            (Tucker et al. 2019, "Doubly reparameterized gradient estimators for Monte Carlo objectives", equation 8).
            The expected gradient is the same.

    Raises:
        InputError: draws below 1 or above 10,000.

    >>> IWAE(5).k
    5
    """

    number = ("k", int)
    names = ("loss", "reconstruction", "kl", "elbo", "iwae")

    def __init__(self, k: int = 5, dreg: bool = True, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= k <= MOST_DRAWS:
            raise InputError(f"{k} draws an image are not possible; give 1 to {MOST_DRAWS:,}")
        self.k = k
        self.dreg = dreg

    @property
    def through_z(self) -> bool:
        return self.dreg

    def watch(self, z):
        return credited(z, self.k) if self.dreg else (z, None)

    def terms(self, inference: Inference, *, step, sample_weight, training: bool) -> dict:
        log_weights = inference.log_weights()
        total = ops.logsumexp(log_weights, axis=1, keepdims=True)
        bound = total[:, 0] - math.log(self.k)
        gain = bound
        if self.dreg:
            share = ops.stop_gradient(ops.exp(log_weights - total))
            # Of value 0: its gradients are the bound's, and the draws' shares for `credited`.
            surrogate = ops.sum(share * (log_weights + inference.by_image(inference.credit)), axis=1)
            gain = ops.stop_gradient(bound) + surrogate - ops.stop_gradient(surrogate)
        return {"loss": -gain, **mean_elbo(inference), "iwae": bound}

    def scratch(self, inputs, outputs) -> int:
        """A few numbers of each draw, which count as images (`VAE.images_at_once`)."""
        return 8

    def get_config(self):
        return {**super().get_config(), "k": self.k, "dreg": self.dreg}


def credited(z, k: int):
    """The draws z (batch x k, ...) as they are, and a credit (batch x k,) of 0 for each, which together change how
    gradients return: that of a draw is multiplied by its share of the gradients of its image's k credits.

    So one pass through prior and decoder gives each draw's gradient the square of its weight where DReG asks for it,
    and their parameters the weight itself. A common factor, as of a loss scale or a sample weight, makes no difference
    to a share.

    >>> z, credit = credited(ops.ones((4, 2)), k=2)
    >>> float(ops.sum(z)), float(ops.sum(credit))
    (8.0, 0.0)
    """
    flat = ops.reshape(z, (-1, math.prod(z.shape[1:])))
    outputs = _scaled(k)(ops.concatenate([flat, ops.zeros_like(flat[:, :1])], axis=1))
    return ops.reshape(outputs[:, :-1], (-1, *z.shape[1:])), outputs[:, -1]


def _scaled(k: int):
    @ops.custom_gradient
    def identity(rows):
        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            credit = ops.reshape(upstream[:, -1], (-1, k))
            total = ops.sum(credit, axis=1, keepdims=True)
            share = ops.reshape(credit / ops.where(total == 0, 1.0, total), (-1, 1))  # an image of weight 0
            return ops.concatenate([share * upstream[:, :-1], ops.zeros_like(share)], axis=1)

        return rows + 0.0, gradient

    return identity
