"""Standard encoders and decoders, one file a family. Any two Keras models of the same shapes serve as well."""

from keras_ae.networks.base import CONDITIONINGS, Family, conditioned_classes
from keras_ae.networks.classifier import build_classifier
from keras_ae.networks.conv import build_decoder, build_encoder
from keras_ae.networks.discriminator import build_discriminator
from keras_ae.networks.mlp import GATED, MLP
from keras_ae.networks.residual import RESIDUAL

NETWORKS = {"conv": Family(build_encoder, build_decoder), "residual": RESIDUAL, "mlp": MLP, "gated": GATED}

__all__ = [
    "CONDITIONINGS",
    "NETWORKS",
    "Family",
    "build_classifier",
    "build_decoder",
    "build_discriminator",
    "build_encoder",
    "conditioned_classes",
]
