"""Standard encoders and decoders, one file a family. Any two Keras models of the same shapes serve as well."""

from keras_ae.networks.conv import CONDITIONINGS, build_decoder, build_encoder

__all__ = ["CONDITIONINGS", "build_decoder", "build_encoder"]
