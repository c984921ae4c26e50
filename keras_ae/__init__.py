"""Autoencoders for Keras 3 that run the same on TensorFlow, JAX and PyTorch.

Importing this package registers its classes, so that its `.keras` files load.
"""

from keras_ae import data
from keras_ae.errors import InputError, NotFiniteError
from keras_ae.models import VAE, build_decoder, build_encoder, conv_vae

__all__ = [
    "VAE",
    "InputError",
    "NotFiniteError",
    "build_decoder",
    "build_encoder",
    "conv_vae",
    "data",
]
