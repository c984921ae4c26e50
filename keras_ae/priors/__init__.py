"""Densities of latents, trained jointly with the model, or fitted to codes afterwards. One file a prior."""

import numpy as np

from keras_ae.errors import InputError
from keras_ae.members import get_member
from keras_ae.priors.autoregressive import Autoregressive
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
FITTED = {
    "gmm": GMM,
    "flow_matching": FlowMatching,
    "autoregressive": Autoregressive,
}  # to the codes of a trained model


def get_prior(identifier: str | Prior) -> Prior:
    """The prior of that name, as "vamp:500", or the given one.

    Raises:
        InputError: no such name.

    >>> get_prior("mixture:10").components
    10
    """
    return get_member(identifier, PRIORS, "prior")


def get_fitted(identifier: str | None, codes, labels=None, *, classes: int = 0, seed: int = 0) -> Prior:
    """The prior of that name, as "gmm:10", "flow_matching:96" or "autoregressive:128", for the codes of a trained
    model. `None`: the last of these for tokens, else flow matching.

    Args:
        codes, labels, seed: as `Prior.for_codes` takes them.
        classes: how many labels there are; 0: one prior for all codes.

    Raises:
        InputError: no such name, a prior for the other kind of codes, or codes that are too few.

    >>> import numpy as np
    >>> get_fitted("gmm:2", np.random.default_rng(0).normal(size=(100, 3))).latent_shape
    (3,)
    """
    are_tokens = np.issubdtype(codes.dtype, np.integer)
    prior = get_member(
        identifier or ("autoregressive" if are_tokens else "flow_matching"), FITTED, "prior", classes=classes
    )
    if prior.is_of_tokens != are_tokens:
        kinds = ", ".join(name for name, kind in FITTED.items() if kind.is_of_tokens == are_tokens)
        raise InputError(f"the prior {identifier} is not for {'tokens' if are_tokens else 'these codes'}; take {kinds}")
    return prior.for_codes(codes, labels, seed)


__all__ = [
    "FITTED",
    "GMM",
    "PRIORS",
    "Autoregressive",
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
