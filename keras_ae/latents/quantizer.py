"""What codes of a finite number have in common."""

import math
from typing import ClassVar

import numpy as np
from keras import ops

from keras_ae.errors import InputError
from keras_ae.latents.base import Latent
from keras_ae.objectives import CodeUsage, Draw


class Quantizer(Latent):
    """A code whose places are each one of `codes` vectors; their numbers are the tokens (batch, h, w), or (batch,).

    The posterior is certain of its tokens, and gives the decoder their vectors with the gradient of the encoder's
    outputs (van den Oord et al. 2017, "Neural discrete representation learning", section 3.2). Under the uniform prior
    the KL is log(codes) for each place, so that the ELBO is one.

    Attributes:
        codes: how many there are.

    >>> import keras_ae, numpy as np
    >>> vae = keras_ae.build_vae((8, 8, 1), (2, 2), latent="fsq:8x8x8", width=4)
    >>> vae.encode(np.zeros((3, 8, 8, 1))).shape
    (3, 2, 2)
    """

    heads: ClassVar[dict[str, str]] = {"code": "glorot_uniform"}
    default_prior = "uniform"
    is_discrete = True
    codes: int

    def check(self, latent_shape, objective) -> None:
        name = type(self).__name__
        if objective.k > 1 or objective.through_z:
            raise InputError(f"all draws of a {name} are the same: take the objective 'elbo'")
        if getattr(objective, "regularizers", []):
            raise InputError(f"a regularizer is of Gaussian latents, which a {name} has not; leave it out")

    def quantized(self, features, training=False):
        """Of the encoder's outputs (batch, ..., channels): tokens (batch, ...) int32; their vectors (batch, ...,
        channels), with the gradient of the outputs; what is added to the loss of each image, (batch,) by the names of
        `costs`."""
        raise NotImplementedError

    def vectors(self, tokens):
        """The vectors (..., channels) of tokens (...)."""
        raise NotImplementedError

    def posterior(self, outputs, noise, prior, objective, encode=None, training=False):
        (features,) = outputs if objective.k == 1 else [ops.repeat(x, objective.k, axis=0) for x in outputs]
        tokens, z, costs = self.quantized(features, training)
        log_p = prior.log_prob(tokens, encode)
        return Draw(z, None, None, -log_p[:, None], ops.zeros_like(log_p), log_p, tokens, costs), None

    def mode(self, outputs):
        return self.quantized(outputs[0])[1]

    def encoded(self, outputs):
        return ops.convert_to_numpy(self.quantized(ops.convert_to_tensor(outputs[0]))[0])

    def decodable(self, drawn):
        """Vectors of tokens; vectors stay as they are."""
        drawn = np.asarray(drawn)
        if not np.issubdtype(drawn.dtype, np.integer):
            return drawn
        if drawn.size and not 0 <= drawn.min() <= drawn.max() < self.codes:
            raise InputError(f"tokens from {drawn.min()} to {drawn.max()} are not possible; give 0 to {self.codes - 1}")
        return ops.convert_to_numpy(self.vectors(ops.convert_to_tensor(drawn.astype("int32"))))

    def metric(self):
        return CodeUsage(self.codes)

    def measured(self, draw):
        return draw.tokens

    @property
    def size(self) -> str:
        return f"{self.places} tokens of {self.codes:,} codes"

    @property
    def places(self) -> int:
        """How many tokens an image has."""
        return math.prod(self.latent_shape[:-1])
