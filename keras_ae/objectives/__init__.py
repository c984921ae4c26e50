"""The mathematics, once, in `keras.ops`: Gaussians, likelihoods, bounds, losses and metrics of images.

What is minimised is one of `OBJECTIVES`, with terms of `REGULARIZERS` besides, over one of `LIKELIHOODS`.
"""

from keras_ae.members import get_member
from keras_ae.objectives.active_units import ActiveUnits
from keras_ae.objectives.adversarial import Adversarial
from keras_ae.objectives.base import Draw, Inference, Objective
from keras_ae.objectives.code_usage import CodeUsage
from keras_ae.objectives.discretized import DiscretizedLogistic, LogisticMixture
from keras_ae.objectives.elbo import ELBO, elbo_terms
from keras_ae.objectives.features import FeatureDistance
from keras_ae.objectives.gaussians import (
    entropy,
    kl_between,
    kl_per_latent,
    log_normal,
    log_normal_pairs,
    reparameterize,
)
from keras_ae.objectives.images import LOSSES, PSNR, SSIM, SSIMLoss, get_loss, psnr
from keras_ae.objectives.iwae import IWAE
from keras_ae.objectives.likelihoods import (
    Bernoulli,
    LearnedGaussian,
    Likelihood,
    OptimalGaussian,
    SquaredError,
    weighted_mean,
)
from keras_ae.objectives.reconstruction import Reconstruction
from keras_ae.objectives.total_correlation import REGULARIZERS, Regularizer, TotalCorrelation

LIKELIHOODS = {
    "squared_error": SquaredError,
    "bernoulli": Bernoulli,
    "gaussian": OptimalGaussian,
    "gaussian_learned": LearnedGaussian,
    "logistic": DiscretizedLogistic,
    "logistic_mixture": LogisticMixture,
}
OBJECTIVES = {"elbo": ELBO, "iwae": IWAE, "reconstruction": Reconstruction}


def get_objective(identifier: str | Objective, **settings) -> Objective:
    """The objective of that name, as "iwae:5", or the given one.

    Args:
        settings: of an ELBO.

    Raises:
        InputError: no such name; or settings for an objective that has none.

    >>> get_objective("iwae:5").k
    5
    """
    return get_member(identifier, OBJECTIVES, "objective", **settings)


def get_likelihood(identifier: str | Likelihood) -> Likelihood:
    """The likelihood of that name, as "bernoulli" or "logistic_mixture:10", or the given one.

    Raises:
        InputError: no such name, or a number that is not possible.

    >>> get_likelihood("bernoulli").is_density
    False
    """
    return get_member(identifier, LIKELIHOODS, "likelihood")


def get_regularizer(identifier: str | Regularizer) -> Regularizer:
    """The regularizer of that name, as "tc:6", or the given one.

    >>> get_regularizer("tc:6").weight
    6.0
    """
    return get_member(identifier, REGULARIZERS, "regularizer")


__all__ = [
    "ELBO",
    "IWAE",
    "LIKELIHOODS",
    "LOSSES",
    "OBJECTIVES",
    "PSNR",
    "REGULARIZERS",
    "SSIM",
    "ActiveUnits",
    "Adversarial",
    "CodeUsage",
    "DiscretizedLogistic",
    "Draw",
    "FeatureDistance",
    "Inference",
    "Likelihood",
    "LogisticMixture",
    "Objective",
    "Reconstruction",
    "Regularizer",
    "SSIMLoss",
    "TotalCorrelation",
    "elbo_terms",
    "entropy",
    "get_likelihood",
    "get_loss",
    "get_objective",
    "get_regularizer",
    "kl_between",
    "kl_per_latent",
    "log_normal",
    "log_normal_pairs",
    "psnr",
    "reparameterize",
    "weighted_mean",
]
