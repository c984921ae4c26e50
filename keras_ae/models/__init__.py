"""Networks and the models made of them."""

from keras_ae.models.conv_autoencoder import TASKS, conv_autoencoder
from keras_ae.models.networks import CONDITIONINGS, build_decoder, build_encoder
from keras_ae.models.restoration import restore_images
from keras_ae.models.vae import VAE, conv_vae

__all__ = [
    "CONDITIONINGS",
    "TASKS",
    "VAE",
    "build_decoder",
    "build_encoder",
    "conv_autoencoder",
    "conv_vae",
    "restore_images",
]
