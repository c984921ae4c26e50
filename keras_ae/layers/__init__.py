"""Layers that stock Keras lacks or that are slow there."""

from keras_ae.layers.conditioning import OneHot
from keras_ae.layers.convolution import Conv2DTranspose

__all__ = ["Conv2DTranspose", "OneHot"]
