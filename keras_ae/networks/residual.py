"""Convolutional networks with residual blocks at each level."""

from functools import partial

from keras_ae.networks.base import Family
from keras_ae.networks.conv import build_decoder, build_encoder

BLOCKS = 2  # at each level

RESIDUAL = Family(partial(build_encoder, blocks=BLOCKS), partial(build_decoder, blocks=BLOCKS))
