"""The evidence lower bound, in nats per image."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae.layers.hyperparameters import Hyperparameters
from keras_ae.objectives.base import Inference, Objective, not_below_0
from keras_ae.objectives.likelihoods import weighted_mean


@keras.saving.register_keras_serializable("keras_ae")
class ELBO(Objective):
    """reconstruction + beta x KL + regularizers (Kingma & Welling 2014, equation 3; Higgins et al. 2017).

    `beta` and `free_bits` may be assigned at any time. They act from the next step on.

    Args:
        beta: the weight of the KL in the loss.
        kl_warmup_steps: optimizer steps over which that weight grows linearly from 0.
        free_bits: nats of each latent's batch-mean KL that cost nothing while training; of all latents together under
            a prior that knows no KL of a single one, and of those of each level of a hierarchy. The loss of an
            evaluation is without them.
        regularizers: terms that are added to the loss while training, each a `Regularizer`.

    Raises:
        InputError: a number below 0.

    >>> ELBO(beta=4.0).beta
    4.0
    """

    def __init__(self, beta: float = 1.0, kl_warmup_steps: int = 0, free_bits: float = 0.0, regularizers=(), **kwargs):
        super().__init__(**kwargs)
        not_below_0(beta=beta, kl_warmup_steps=kl_warmup_steps, free_bits=free_bits)
        self.hyperparameters = Hyperparameters(beta=beta, free_bits=free_bits)
        self.kl_warmup_steps = kl_warmup_steps
        self.regularizers = list(regularizers)
        self.of_training = tuple(regularizer.term for regularizer in self.regularizers)
        self.names = (*Objective.names, *self.of_training)

    @property
    def beta(self) -> float:
        return self.hyperparameters["beta"]

    @beta.setter
    def beta(self, value: float):
        not_below_0(beta=value)
        self.hyperparameters["beta"] = value

    @property
    def free_bits(self) -> float:
        return self.hyperparameters["free_bits"]

    @free_bits.setter
    def free_bits(self, value: float):
        not_below_0(free_bits=value)
        self.hyperparameters["free_bits"] = value

    def settings(self) -> dict:
        return self.hyperparameters.numbers

    def terms(self, inference: Inference, *, step, sample_weight, training: bool) -> dict:
        draw = inference.draw
        groups = draw.kl.shape[-1]
        latents = np.array(draw.sizes or [math.prod(draw.z.shape[1:]) // groups] * groups, "float32")
        vectors = elbo_terms(
            inference.reconstruction,
            inference.log_likelihood,
            draw.kl,
            beta=self._kl_weight(step, training),
            free_bits=ops.convert_to_tensor(latents) * self._free_bits(training),
            sample_weight=sample_weight,
        )
        for regularizer in self.regularizers if training else ():
            value = regularizer.terms(inference, sample_weight)
            vectors["loss"] = vectors["loss"] + regularizer.weight_in_loss * value
            vectors[regularizer.term] = value
        return vectors

    def _kl_weight(self, step, training: bool):
        beta = ops.convert_to_tensor(self.hyperparameters.numbers["beta"])
        if not (training and self.kl_warmup_steps):
            return beta
        return beta * ops.minimum(ops.cast(step, "float32") / self.kl_warmup_steps, 1.0)

    def _free_bits(self, training: bool):
        # A clamped mean over a batch would make an evaluation depend on the batch size.
        return ops.convert_to_tensor(self.hyperparameters.numbers["free_bits"]) if training else 0.0

    def adapt(self, split) -> None:
        for regularizer in self.regularizers:
            regularizer.adapt(split)

    def check_ready(self) -> None:
        for regularizer in self.regularizers:
            regularizer.check_ready()

    def scratch(self, inputs, outputs) -> int:
        """A few numbers."""
        return 8

    def get_config(self):
        return {
            **super().get_config(),
            "beta": self.beta,
            "kl_warmup_steps": self.kl_warmup_steps,
            "free_bits": self.free_bits,
            "regularizers": [keras.saving.serialize_keras_object(each) for each in self.regularizers],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        regularizers = [keras.saving.deserialize_keras_object(each) for each in config["regularizers"]]
        return cls(**{**config, "regularizers": regularizers})


def elbo_terms(reconstruction, log_likelihood, kl_latents, *, beta=1.0, free_bits=0.0, sample_weight=None) -> dict:
    """What a VAE minimises and what it reports (Kingma & Welling 2014, equation 3).

    Args:
        reconstruction, log_likelihood: (batch,), from a `Likelihood`.
        kl_latents: (batch, groups), the KL of each group of latents.
        beta: the weight of the KL in the loss (Higgins et al. 2017).
        free_bits: nats below which the batch mean of a group's KL costs nothing more (Kingma et al.
            2016, "Improved variational inference with inverse autoregressive flow", appendix C.8).
        sample_weight: (batch,) or `None`: how often each image counts in that mean.

    Returns:
        A dict of vectors (batch,): `loss` is minimised; `kl` is neither weighted nor clamped; `elbo`
        is higher-is-better, has weight 1 and the likelihood's constants.

    >>> terms = elbo_terms(ops.array([3.0]), ops.array([-3.0]), ops.array([[1.0, 0.5]]), beta=2.0)
    >>> [float(terms[name][0]) for name in ("loss", "kl", "elbo")]
    [6.0, 1.5, -4.5]
    """
    kl = ops.sum(kl_latents, axis=-1)
    mean = weighted_mean(kl_latents, sample_weight)
    costs = ops.logical_or(mean > free_bits, ops.equal(free_bits, 0.0))
    # The mean over the batch of this is the sum over latents of max(free_bits, mean KL), with its gradient.
    penalty = ops.sum(ops.where(costs, kl_latents, free_bits), axis=-1)
    return {
        "loss": reconstruction + beta * penalty,
        "reconstruction": reconstruction,
        "kl": kl,
        "elbo": log_likelihood - kl,
    }


def bits_per_dimension(elbo: float, image_shape: tuple[int, ...], *, discretized: bool = False) -> float:
    """The ELBO in another unit: -log2 of the probability of each value of an image, which has 256 levels.

    It is -elbo / (D ln 2), and lower is better. Of a density it is 8 - elbo / (D ln 2), the density for values scaled
    to 256 levels. Published bits per dimension come from discretised likelihoods, or from a density of pixels with
    uniform noise: do not compare them with that of a density at the pixels themselves, and do not read that as a bound
    on the size of a compressed image.

    Args:
        elbo: nats per image, of a likelihood that is a density of pixels in [0, 1].
        image_shape: (height, width, channels), which have D values together.
        discretized: whether it is a probability of grey levels instead.

    >>> bits_per_dimension(0.0, (32, 32, 3))
    8.0
    """
    return (0.0 if discretized else 8.0) - elbo / (math.prod(image_shape) * math.log(2))
