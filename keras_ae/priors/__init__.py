"""Densities of latents, trained jointly with the model, or fitted to codes afterwards. One file a prior."""

from keras_ae.members import get_member
from keras_ae.priors.base import Prior
from keras_ae.priors.flow import FlowPrior
from keras_ae.priors.flow_matching import FlowMatching
from keras_ae.priors.gmm import GMM
from keras_ae.priors.mixture import GaussianMixture
from keras_ae.priors.standard import StandardNormal
from keras_ae.priors.uniform import Uniform
from keras_ae.priors.vamp import VampPrior

PRIORS = {
    "standard": StandardNormal,
    "mixture": GaussianMixture,
    "vamp": VampPrior,
    "flow": FlowPrior,
    "uniform": Uniform,
}
FITTED = {"gmm": GMM, "flow_matching": FlowMatching}  # to the codes of a trained model


def get_prior(identifier: str | Prior) -> Prior:
    """The prior of that name, as "vamp:500", or the given one.

    Raises:
        InputError: no such name.

    >>> get_prior("mixture:10").components
    10
    """
    return get_member(identifier, PRIORS, "prior")


def get_fitted(identifier: str, codes, labels=None, *, classes: int = 0, seed: int = 0) -> Prior:
    """The prior of that name, as "gmm:10" or "flow_matching:96", for the codes of a trained model.

    Args:
        codes, labels, seed: as `Prior.for_codes` takes them.
        classes: how many labels there are; 0: one prior for all codes.

    Raises:
        InputError: no such name, or codes that are too few.

    >>> import numpy as np
    >>> get_fitted("gmm:2", np.random.default_rng(0).normal(size=(100, 3))).latent_shape
    (3,)
    """
    return get_member(identifier, FITTED, "prior", classes=classes).for_codes(codes, labels, seed)


__all__ = [
    "FITTED",
    "GMM",
    "PRIORS",
    "FlowMatching",
    "FlowPrior",
    "GaussianMixture",
    "Prior",
    "StandardNormal",
    "Uniform",
    "VampPrior",
    "get_fitted",
    "get_prior",
]
