"""The mathematics, once, in `keras.ops`: divergences, likelihoods, the ELBO, losses and metrics of images."""

from keras_ae.objectives.elbo import elbo_terms
from keras_ae.objectives.gaussian import kl_per_latent, reparameterize
from keras_ae.objectives.likelihoods import LIKELIHOODS, Likelihood, get_likelihood, weighted_mean
from keras_ae.objectives.metrics import ActiveUnits, psnr
from keras_ae.objectives.restoration import LOSSES, PSNR, SSIM, SSIMLoss, get_loss

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
