"""The models, and what a trained one is used for."""

from keras_ae.models.autoencoder import conv_autoencoder
from keras_ae.models.build import build_hierarchical_vae, build_vae, conv_vae
from keras_ae.models.classifier_fit import ClassifierFit
from keras_ae.models.hierarchical import HierarchicalVAE
from keras_ae.models.photographs import PhotographRestorer
from keras_ae.models.prior_fit import PriorFit
from keras_ae.models.restoration import restore_images
from keras_ae.models.sharp_fit import SharpFit
from keras_ae.models.vae import VAE
from keras_ae.models.with_prior import with_prior

__all__ = [
    "VAE",
    "ClassifierFit",
    "HierarchicalVAE",
    "PhotographRestorer",
    "PriorFit",
    "SharpFit",
    "build_hierarchical_vae",
    "build_vae",
    "conv_autoencoder",
    "conv_vae",
    "restore_images",
    "with_prior",
]
