"""Vector quantisation with a codebook of moving averages."""

import keras
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.latents.quantizer import Quantizer
from keras_ae.objectives.base import not_below_0

DECAY = 0.99  # of the averages, in a step
DEAD = 0.03  # of the mean count: a code below it is given another place
STRIDE = 7919  # a prime: so far apart are the features that a step offers to dead codes, from one step to the next
MOST_CODES = 2**16


@keras.saving.register_keras_serializable("keras_ae")
class VQ(Quantizer):
    """Each place is the nearest vector of a codebook (van den Oord et al. 2017, "Neural discrete representation
    learning", equations 1 to 3). The codebook follows the means of what is assigned to its codes (appendix A.1); the
    commitment loss keeps the encoder near it.

    A code that is hardly used begins again at a feature of the current batch, with its count and its sum. All codes
    begin so, in the first step. Distances, counts and sums are float32 and in the model's state.

    Args:
        codes: how many vectors.
        commitment: weight of the squared distance between features and their vectors, summed over an image.

    Raises:
        InputError: less than 2 codes or more than 2^16, or a weight below 0.

    >>> import keras_ae
    >>> vae = keras_ae.build_vae((8, 8, 1), (2, 2, 3), latent="vq:16", width=4)
    >>> vae.latent.codebook.shape
    (16, 3)
    """

    number = ("codes", int)
    channels = 16
    costs = ("commitment",)
    normalizes = False  # features and vectors, to length 1

    def __init__(self, codes: int = 512, commitment: float = 0.25, **kwargs):
        super().__init__(**kwargs)
        if not 2 <= codes <= MOST_CODES:
            raise InputError(f"{codes} codes are not possible; give 2 to {MOST_CODES:,}")
        not_below_0(commitment=commitment)
        self.codes = codes
        self.commitment = commitment

    def build(self, latent_shape):
        super().build(latent_shape)
        shape = (self.codes, latent_shape[-1])
        self.codebook = self.add_weight(name="codebook", shape=shape, initializer="glorot_uniform", trainable=False)
        self.counts = self.add_weight(name="counts", shape=shape[:1], initializer="zeros", trainable=False)
        self.sums = self.add_weight(name="sums", shape=shape, initializer="zeros", trainable=False)
        self.steps = self.add_weight(name="steps", shape=(), initializer="zeros", dtype="int32", trainable=False)

    def quantized(self, features, training=False):
        if self.normalizes:
            features = ops.normalize(features, axis=-1)
        flat = ops.reshape(features, (-1, features.shape[-1]))
        distances = self._distances(flat)
        # Of numbers that are not whole, Keras's argmin looks at the bits, which no exported graph can.
        nearest = ops.cast(distances <= ops.min(distances, axis=-1, keepdims=True), "int32")
        tokens = ops.argmax(nearest, axis=-1)
        tokens = ops.reshape(ops.cast(tokens, "int32"), (-1, *features.shape[1:-1]))
        vectors = self.vectors(tokens)
        if training:
            self._follow(ops.stop_gradient(flat), ops.ravel(tokens))
        errors = ops.square(features - ops.stop_gradient(vectors))
        commitment = self.commitment * ops.sum(ops.reshape(errors, (ops.shape(errors)[0], -1)), axis=1)
        return tokens, features + ops.stop_gradient(vectors - features), {"commitment": commitment}

    def vectors(self, tokens):
        return ops.take(ops.convert_to_tensor(self.codebook), tokens, axis=0)

    def _distances(self, flat):
        """Squared, (n, codes), less the squared length of the features, which chooses nothing."""
        codebook = ops.convert_to_tensor(self.codebook)
        return ops.sum(ops.square(codebook), axis=1) - 2 * ops.matmul(flat, ops.transpose(codebook))

    def _follow(self, flat, tokens) -> None:
        """A step of the averages. Codes below the threshold take features of this batch for their vectors."""
        flat, tokens = backends.gather(flat), backends.gather(tokens)
        new = ops.segment_sum(ops.ones_like(flat[:, 0]), tokens, self.codes)
        counts = DECAY * self.counts + (1 - DECAY) * new
        sums = DECAY * self.sums + (1 - DECAY) * ops.segment_sum(flat, tokens, self.codes)
        features = ops.shape(flat)[0]
        mean = ops.cast(features, "float32") / self.codes
        offered = ops.mod(ops.arange(self.codes, dtype="int32") * STRIDE + self.steps, features)
        dead = counts < DEAD * mean
        counts = ops.where(dead, mean, counts)
        sums = ops.where(dead[:, None], mean * ops.take(flat, offered, axis=0), sums)
        codebook = sums / counts[:, None]
        self.counts.assign(counts)
        self.sums.assign(sums)
        self.codebook.assign(ops.normalize(codebook, axis=-1) if self.normalizes else codebook)
        self.steps.assign(self.steps + 1)

    def scratch(self, inputs, outputs) -> int:
        """The distance of each place to each code."""
        return self.codes * self.places

    def get_config(self):
        return {**super().get_config(), "codes": self.codes, "commitment": self.commitment}


@keras.saving.register_keras_serializable("keras_ae")
class CosineVQ(VQ):
    """`VQ` of features and vectors that have the length 1 (Yu et al. 2022, "Vector-quantized image modeling with
    improved VQGAN", section 3.2).

    >>> CosineVQ(codes=8).codes
    8
    """

    normalizes = True
