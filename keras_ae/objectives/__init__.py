"""The mathematics, once, in `keras.ops`: divergences, likelihoods, the ELBO, losses and metrics of images."""

from keras_ae.objectives.active_units import ActiveUnits
from keras_ae.objectives.elbo import elbo_terms, kl_per_latent, reparameterize
from keras_ae.objectives.images import LOSSES, PSNR, SSIM, SSIMLoss, get_loss, psnr
from keras_ae.objectives.likelihoods import LIKELIHOODS, Likelihood, get_likelihood, weighted_mean

__all__ = [
    "LIKELIHOODS",
    "LOSSES",
    "PSNR",
    "SSIM",
    "ActiveUnits",
    "Likelihood",
    "SSIMLoss",
    "elbo_terms",
    "get_likelihood",
    "get_loss",
    "kl_per_latent",
    "psnr",
    "reparameterize",
    "weighted_mean",
]
