"""Networks and the models made of them."""

from keras_ae.models.networks import CONDITIONINGS, build_decoder, build_encoder
from keras_ae.models.vae import VAE, conv_vae

__all__ = ["CONDITIONINGS", "VAE", "build_decoder", "build_encoder", "conv_vae"]
