"""Layers that stock Keras lacks or that are slow there."""

from keras_ae.layers.conditioning import OneHot, with_label
from keras_ae.layers.convolution import Conv2DTranspose
from keras_ae.layers.known import KeepKnown

__all__ = ["Conv2DTranspose", "KeepKnown", "OneHot", "with_label"]
