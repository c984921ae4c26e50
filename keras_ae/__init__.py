"""Autoencoders for Keras 3 that run the same on TensorFlow, JAX and PyTorch.

Importing this package registers its classes, so that its `.keras` files load.
"""

from keras_ae import callbacks, codes, data, models, optimizers, pictures, priors
from keras_ae.errors import CheckpointError, InputError, LostError, NotFiniteError
from keras_ae.evaluation import evaluate
from keras_ae.exports import export_model
from keras_ae.models import (
    VAE,
    HierarchicalVAE,
    PhotographRestorer,
    build_hierarchical_vae,
    build_vae,
    conv_autoencoder,
    conv_vae,
    restore_images,
    with_prior,
)
from keras_ae.networks import build_decoder, build_encoder
from keras_ae.optimizers import Muon
from keras_ae.saving import load_model, open_model, read_metadata, save_model
from keras_ae.tasks import get_task
from keras_ae.training import fit, train

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "CheckpointError",
    "HierarchicalVAE",
    "InputError",
    "LostError",
    "Muon",
    "NotFiniteError",
    "PhotographRestorer",
    "build_decoder",
    "build_encoder",
    "build_hierarchical_vae",
    "build_vae",
    "callbacks",
    "codes",
    "conv_autoencoder",
    "conv_vae",
    "data",
    "evaluate",
    "export_model",
    "fit",
    "get_task",
    "load_model",
    "models",
    "open_model",
    "optimizers",
    "pictures",
    "priors",
    "read_metadata",
    "restore_images",
    "save_model",
    "train",
    "with_prior",
]
