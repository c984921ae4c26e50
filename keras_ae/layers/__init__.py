"""Layers that stock Keras lacks or that are slow there."""

from keras_ae.layers.conditioning import OneHot, with_label
from keras_ae.layers.convolution import Conv2D, Conv2DTranspose, DepthwiseConv2D
from keras_ae.layers.hyperparameters import Hyperparameters
from keras_ae.layers.missing import FillMissing, KeepKnown

__all__ = [
    "Conv2D",
    "Conv2DTranspose",
    "DepthwiseConv2D",
    "FillMissing",
    "Hyperparameters",
    "KeepKnown",
    "OneHot",
    "with_label",
]
