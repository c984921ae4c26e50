"""The mathematics, once, in `keras.ops`: divergences, likelihoods, the ELBO, metrics of a split."""

from keras_ae.objectives.elbo import elbo_terms
from keras_ae.objectives.gaussian import kl_per_latent, reparameterize
from keras_ae.objectives.likelihoods import LIKELIHOODS, Likelihood, get_likelihood, weighted_mean
from keras_ae.objectives.metrics import ActiveUnits, psnr

__all__ = [
    "LIKELIHOODS",
    "ActiveUnits",
    "Likelihood",
    "elbo_terms",
    "get_likelihood",
    "kl_per_latent",
    "psnr",
    "reparameterize",
    "weighted_mean",
]
