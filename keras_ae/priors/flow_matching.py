"""Flow matching over codes."""

import itertools
import math

import keras
import numpy as np
from keras import layers, ops

from keras_ae.errors import InputError
from keras_ae.priors.base import DROPPED, MOST_BLOCKS, Prior, check_network, named

EMBEDDING = 128  # features that tell the network of time and class
FREQUENCIES = 32  # of the sines that time becomes
GROUPS = 8  # of features that are normalised together
HEADS = 4  # of attention
BATCH_SIZE = 256  # codes that are sampled at once
STEPS = 20  # of Heun's method, with two calls of the network each
GUIDANCE = 1.5


@keras.saving.register_keras_serializable("keras_ae")
class FlowMatching(Prior):
    """Noise that a network turns into codes, fitted to the codes of a trained model: at time t of the straight line
    from noise e to a code z the network learns the velocity z - e (Lipman et al. 2023, "Flow matching for generative
    modeling", section 4.1). Samples follow it from noise, with Heun's method.

    Codes are scaled to mean 0 and standard deviation 1 in each channel. One label in ten is left out while training,
    so that samples can be guided (Ho & Salimans 2022, "Classifier-free diffusion guidance").

    Args:
        width: features of the network, a multiple of 8.
        blocks: of the network, with attention between them where codes are spatial.
        classes: how many labels there are; 0: codes have none.

    Raises:
        InputError: a width that is not a multiple of 8, or less than 1 block or more than 100.

    >>> prior = FlowMatching(width=8, blocks=1)
    >>> prior.build((None, 2, 2, 3))
    >>> prior.sample(4, np.random.default_rng(0)).shape
    (4, 2, 2, 3)
    """

    number = ("width", int)
    has_network = True

    def __init__(self, width: int = 96, blocks: int = 3, classes: int = 0, **kwargs):
        super().__init__(**kwargs)
        check_network(width, blocks, GROUPS, MOST_BLOCKS)
        self.width = width
        self.blocks = blocks
        self.classes = classes
        self.takes = ("guidance",) if self.classes else ()

    def build(self, latent_shape, image_shape=None, codes=None):
        super().build(latent_shape)
        channels = self.latent_shape[-1]
        self.mean = self.add_weight(name="mean", shape=(channels,), initializer="zeros", trainable=False)
        self.std = self.add_weight(name="std", shape=(channels,), initializer="ones", trainable=False)
        self.network = self.make_network()
        self.network.trainable = False

    def for_codes(self, codes, labels, seed=0):
        self.build((None, *codes.shape[1:]))
        self.adapt_to(codes)
        return self

    def adapt_to(self, codes: np.ndarray) -> None:
        """Takes mean and standard deviation of each channel from codes (n, *latent_shape)."""
        flat = codes.reshape(-1, codes.shape[-1]).astype("float64")
        self.mean.assign(flat.mean(0).astype("float32"))
        self.std.assign(np.maximum(flat.std(0), 1e-6).astype("float32"))

    def make_network(self) -> keras.Model:
        """Scaled codes on their way, time as sines (batch, 64), labels (batch,) -> velocities, shaped like codes."""
        z, time = keras.Input(self.latent_shape, name="z"), keras.Input((2 * FREQUENCIES,), name="time")
        label = keras.Input((), dtype="int32", name="label")
        embedding = layers.Dense(EMBEDDING)(layers.Dense(EMBEDDING, activation="silu")(time))
        embedding = layers.Add()([embedding, layers.Embedding(self.classes + 1, EMBEDDING)(label)])
        embedding = layers.Activation("silu")(embedding)
        network = _spatial if len(self.latent_shape) == 3 else _dense
        return keras.Model([z, time, label], network(z, embedding, self.width, self.blocks), name="velocity")

    def losses(self, network, code, label, normal):
        """Mean squared error of a network's velocities, (batch,).

        Args:
            code: (batch, *latent_shape).
            label: (batch,), or `None`.
            normal: function of a shape -> standard normal noise.
        """
        batch = ops.shape(code)[0]
        z = (ops.cast(code, "float32") - self.mean) / self.std
        noise = normal(ops.shape(z))
        draws = normal((2, batch))
        time = ops.sigmoid(draws[0])  # more often in the middle of the way (Esser et al. 2024, section 3.1)
        share = ops.reshape(time, (-1, *(1 for _ in self.latent_shape)))
        left_out = ops.full((batch,), self.classes, dtype="int32")
        if label is None or not self.classes:
            label = left_out
        else:
            label = ops.where(draws[1] < DROPPED, left_out, ops.cast(label, "int32"))
        velocity = network([(1 - share) * noise + share * z, _sines(time), label])
        error = ops.square(ops.cast(velocity, "float32") - (z - noise))
        return ops.mean(ops.reshape(error, (batch, -1)), axis=1)

    def sample(self, n, random, temperature=1.0, encode=None, labels=None, guidance=None):
        return self._moved(temperature * self.noise(n, random), 0.0, labels, guidance)

    def carried(self, codes: np.ndarray, time: float, random: np.random.Generator, labels=None) -> np.ndarray:
        """Codes (n, *latent_shape) with noise mixed in, as on their way at that time, and carried to its end again.

        Args:
            time: from 0, noise alone, to 1, the codes as they are.
            labels: ids (n,), of a prior that knows classes.

        >>> prior = FlowMatching(width=8, blocks=1)
        >>> prior.build((None, 2, 2, 3))
        >>> codes = np.zeros((4, 2, 2, 3), "float32")
        >>> np.array_equal(prior.carried(codes, 1.0, np.random.default_rng(0)), codes)
        True
        """
        mean, std = self._scale()
        z = (1 - time) * self.noise(len(codes), random) + time * (codes - mean) / std
        return self._moved(z.astype("float32"), time, labels)

    def _scale(self) -> list[np.ndarray]:
        """Mean and standard deviation of each channel."""
        return [ops.convert_to_numpy(weight.value) for weight in (self.mean, self.std)]

    def _moved(self, z: np.ndarray, start: float, labels, guidance: float | None = None) -> np.ndarray:
        """The codes that scaled ones on their way at a time become."""
        guidance = GUIDANCE if guidance is None else guidance
        labels = None if labels is None else np.asarray(labels, "int32")
        parts = (slice(first, first + BATCH_SIZE) for first in range(0, len(z), BATCH_SIZE))
        ends = [self._followed(z[part], start, None if labels is None else labels[part], guidance) for part in parts]
        mean, std = self._scale()
        return (np.concatenate(ends) * std + mean).astype("float32")

    def _followed(self, z: np.ndarray, start: float, labels, guidance: float) -> np.ndarray:
        """By Heun's method, in as many steps as are left of the whole way's."""
        times = np.linspace(start, 1, 1 + math.ceil((1 - start) * STEPS)).tolist()
        for now, after in itertools.pairwise(times):
            velocity = self._velocity(z, now, labels, guidance)
            there = z + velocity * (after - now)
            if after < 1:
                velocity = (velocity + self._velocity(there, after, labels, guidance)) / 2
            z = z + velocity * (after - now)
        return z

    def _velocity(self, z: np.ndarray, time: float, labels, guidance: float) -> np.ndarray:
        """In NumPy: guided away from what the network does without the labels, where there are some."""
        sines = ops.convert_to_numpy(_sines(ops.full((len(z),), time, "float32")))
        none = np.full(len(z), self.classes, "int32")
        if labels is None or not self.classes or guidance == 0:
            return self.network.predict_on_batch([z, sines, none])
        if guidance == 1:
            return self.network.predict_on_batch([z, sines, labels])
        both = [np.concatenate(pair) for pair in ((z, z), (sines, sines), (labels, none))]
        with_label, without = np.split(self.network.predict_on_batch(both), 2)
        return without + np.float32(guidance) * (with_label - without)

    def log_prob(self, z, encode=None):
        raise InputError("flow matching knows no density of codes; leave out the log-likelihood")

    def step(self, encode=None):
        """A step of Heun's method from `time` on, which starts with noise: `next_z`, and the `code` that it stands for.
        The number of classes as a label is none."""
        z, time = keras.Input(self.latent_shape, name="z"), keras.Input((), name="time")
        label = keras.Input((), dtype="int32", name="label") if self.classes else None
        guidance = keras.Input((), name="guidance") if self.classes else None

        def velocity(z, time):
            sines = _sines(time)
            none = ops.zeros_like(time, dtype="int32") + self.classes
            if not self.classes:
                return self.network([z, sines, none])
            both = [ops.concatenate(pair) for pair in ((z, z), (sines, sines), (label, none))]
            with_label, without = ops.split(self.network(both), 2)
            return without + self._by_place(guidance) * (with_label - without)

        size, after = 1 / STEPS, time + 1 / STEPS
        now = velocity(z, time)
        there = velocity(z + now * size, after)
        is_last = self._by_place(after) > 1 - size / 2
        next_z = z + size * ops.where(is_last, now, (now + there) / 2)
        mean, std = (ops.convert_to_numpy(weight.value) for weight in (self.mean, self.std))
        outputs = [named(next_z, "next_z"), named(next_z * std + mean, "code")]
        return keras.Model([z, time, *([label, guidance] if self.classes else [])], outputs)

    def _by_place(self, numbers):
        """(n,) -> (n, 1, ...), as codes have axes."""
        return ops.reshape(numbers, (-1, *(1 for _ in self.latent_shape)))

    def scratch(self, inputs, outputs) -> int:
        """What the network computes of a code, at most."""
        return (self.blocks + 1) * self.places * (24 * self.width + 4 * HEADS * self.places) + 16 * EMBEDDING

    def get_config(self):
        return {**super().get_config(), "width": self.width, "blocks": self.blocks, "classes": self.classes}


def _sines(time):
    """Times (n,) in [0, 1] -> (n, 64)."""
    angles = time[:, None] * np.exp(np.linspace(0, math.log(1000), FREQUENCIES)).astype("float32")
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=1)


def _modulated(x, embedding, width: int):
    """Normalised features, scaled and shifted by what the embedding says."""
    shape = (1,) * (len(x.shape) - 2) + (width,)
    scale, shift = (layers.Reshape(shape)(layers.Dense(width)(embedding)) for _ in range(2))
    x = layers.GroupNormalization(GROUPS)(x)
    return layers.Add()([x, layers.Multiply()([x, scale]), shift])


def _spatial(z, embedding, width: int, blocks: int):
    """Residual convolutions, and attention between them (Dhariwal & Nichol 2021, section 3, of one resolution)."""
    x = Position()(layers.Conv2D(width, 3, padding="same")(z))
    for number in range(blocks):
        if number:
            x = _attention(x, width)
        y = layers.Activation("silu")(_modulated(x, embedding, width))
        y = layers.Conv2D(width, 3, padding="same")(y)
        y = layers.Activation("silu")(layers.GroupNormalization(GROUPS)(y))
        y = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(y)
        x = layers.Add()([x, y])
    x = layers.Activation("silu")(layers.GroupNormalization(GROUPS)(x))
    return layers.Conv2D(z.shape[-1], 3, padding="same", kernel_initializer="zeros", dtype="float32")(x)


def _attention(x, width: int):
    height, columns = x.shape[1:3]
    y = layers.Reshape((height * columns, width))(layers.GroupNormalization(GROUPS)(x))
    y = layers.MultiHeadAttention(HEADS, width // HEADS)(y, y)
    y = layers.Dense(width, kernel_initializer="zeros")(y)
    return layers.Add()([x, layers.Reshape((height, columns, width))(y)])


def _dense(z, embedding, width: int, blocks: int):
    """The same for vectors, of residual dense layers."""
    x = layers.Dense(4 * width)(z)
    for _ in range(blocks):
        y = layers.Activation("silu")(_modulated(x, embedding, 4 * width))
        y = layers.Dense(4 * width, activation="silu")(y)
        x = layers.Add()([x, layers.Dense(4 * width, kernel_initializer="zeros")(y)])
    return layers.Dense(z.shape[-1], kernel_initializer="zeros", dtype="float32")(x)


class Position(layers.Layer):
    """Adds a weight of its own to each place and feature, so that a network knows where it is.

    >>> Position()(keras.Input((2, 2, 3))).shape
    (None, 2, 2, 3)
    """

    def build(self, input_shape):
        self.weight = self.add_weight(name="position", shape=tuple(input_shape[1:]), initializer="zeros")

    def call(self, x):
        return x + ops.cast(self.weight, x.dtype)
