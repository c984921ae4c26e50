"""The networks of the benchmarks, once for Keras, once in plain PyTorch, once in plain JAX."""

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Network:
    """A convolutional VAE: convolutions 4x4 of stride 2, perhaps a dense layer, the latents, and the mirror of it.

    Attributes:
        side: height and width of its colour images.
        filters: of each level.
        dense: features of a dense layer next to the latents on both sides, or 0.
        precision: of the layers, as Keras names it: float32 or mixed_bfloat16. Weights are float32.
    """

    side: int
    filters: tuple[int, ...]
    dense: int
    activation: str
    batch_size: int
    latent_dim: int = 40
    precision: str = "float32"

    @property
    def bottom(self) -> int:
        """Height and width below the last level."""
        return self.side // 2 ** len(self.filters)

    @property
    def flat(self) -> int:
        """Features below the last level, of all its places."""
        return self.bottom**2 * self.filters[-1]

    @property
    def flop_per_image(self) -> int:
        """Of a train step: a multiplication and an addition for each weight's use, forward once and backward twice,
        without the gradient of the image."""
        sides = [self.side // 2 ** (level + 1) for level in range(len(self.filters))]
        channels = [3, *self.filters]
        convolutions = [
            side**2 * 16 * above * below for side, (above, below) in zip(sides, pairwise(channels), strict=True)
        ]
        inner = self.flat if not self.dense else self.dense
        dense = 2 * self.flat * self.dense + 3 * inner * self.latent_dim
        return 2 * (3 * (2 * sum(convolutions) + dense) - convolutions[0])


def default_network(side: int, width: int, batch_size: int) -> Network:
    """What `conv_vae` builds for square colour images."""
    from keras_ae.networks.conv import level_filters

    levels = max(1, round(math.log2(side / 4)))
    return Network(side, tuple(level_filters(levels, width)), 0, "silu", batch_size)


NETWORKS = {
    "reference": Network(32, (32, 64, 128), 256, "relu", 128),
    "default32": Network(32, (32, 64, 128), 0, "silu", 128),
    "default96": Network(96, (16, 16, 32, 64, 128), 0, "silu", 64),
    # width 64
    "wide32": Network(32, (64, 128, 256), 0, "silu", 128),
    "wide96": Network(96, (16, 32, 64, 128, 256), 0, "silu", 64),
}


def keras_networks(network: Network):
    """Encoder and decoder with keras_ae's layers: for the defaults what `conv_vae` builds."""
    import keras
    from keras import layers

    from keras_ae.layers import Conv2D, Conv2DTranspose
    from keras_ae.networks.conv import build_decoder, build_encoder

    keras.config.set_dtype_policy(network.precision)
    shape = (network.side, network.side, 3)
    if not network.dense:
        width = network.filters[-1] // 4
        return build_encoder(shape, network.latent_dim, width=width), build_decoder(
            shape, network.latent_dim, width=width
        )
    settings = {"strides": 2, "padding": "same"}
    x = image = keras.Input(shape)
    for filters in network.filters:
        x = Conv2D(filters, 4, activation=network.activation, **settings)(x)
    x = layers.Dense(network.dense, activation=network.activation)(layers.Flatten()(x))
    latents = [
        layers.Dense(network.latent_dim, dtype="float32")(x),
        layers.Dense(network.latent_dim, dtype="float32", kernel_initializer="zeros")(x),
    ]
    x = z = keras.Input((network.latent_dim,))
    for features in (network.dense, network.flat):
        x = layers.Dense(features, activation=network.activation)(x)
    x = layers.Reshape((network.bottom, network.bottom, network.filters[-1]))(x)
    for filters in network.filters[-2::-1]:
        x = Conv2DTranspose(filters, 4, activation=network.activation, **settings)(x)
    x = Conv2DTranspose(3, 4, dtype="float32", **settings)(x)
    return keras.Model(image, latents), keras.Model(z, x)


def stock(model):
    """The same Keras model with stock convolutions."""
    import keras

    from keras_ae.layers import Conv2D, Conv2DTranspose

    replaced = {Conv2D: keras.layers.Conv2D, Conv2DTranspose: keras.layers.Conv2DTranspose}
    return keras.models.clone_model(
        model, clone_function=lambda layer: replaced.get(type(layer), type(layer)).from_config(layer.get_config())
    )


def torch_networks(network: Network):
    """Encoder (image, channels first, -> mean and log-variance side by side) and decoder."""
    import torch
    from torch import nn

    activation = {"relu": nn.ReLU, "silu": nn.SiLU}[network.activation]
    encoder, channels = [], 3
    for filters in network.filters:
        encoder += [nn.Conv2d(channels, filters, 4, 2, 1), activation()]
        channels = filters
    encoder.append(nn.Flatten())
    inner = network.flat
    if network.dense:
        encoder += [nn.Linear(network.flat, network.dense), activation()]
        inner = network.dense
    encoder.append(nn.Linear(inner, 2 * network.latent_dim))
    decoder, inner = [], network.latent_dim
    for features in filter(None, (network.dense, network.flat)):
        decoder += [nn.Linear(inner, features), activation()]
        inner = features
    decoder.append(nn.Unflatten(1, (network.filters[-1], network.bottom, network.bottom)))
    for filters in network.filters[-2::-1]:
        decoder += [nn.ConvTranspose2d(channels, filters, 4, 2, 1), activation()]
        channels = filters
    decoder.append(nn.ConvTranspose2d(channels, 3, 4, 2, 1))
    return tuple(nn.Sequential(*parts).to(memory_format=torch.channels_last) for parts in (encoder, decoder))


def jax_network(network: Network):
    """(the weights, function of weights, images and noise -> SSE + KL, the mean over images), stock convolutions."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    random = np.random.default_rng(0)
    activation = {"relu": jax.nn.relu, "silu": jax.nn.silu}[network.activation]
    depth = len(network.filters)

    def weights(*shape):
        fan = math.prod(shape[:-1]) + shape[-1] * math.prod(shape[:-2])
        limit = math.sqrt(6 / fan)
        return jnp.asarray(random.uniform(-limit, limit, shape), "float32"), jnp.zeros(shape[-1])

    channels = [3, *network.filters]
    pairs = list(pairwise(channels))
    inner = network.dense or network.flat
    parameters = {
        "down": [weights(4, 4, above, below) for above, below in pairs],
        "latents": weights(inner, 2 * network.latent_dim),
        "up": [weights(4, 4, below, above) for above, below in reversed(pairs)],
        "decoded": weights(network.dense or network.latent_dim, network.flat),
    }
    if network.dense:
        parameters |= {
            "encoded": weights(network.flat, network.dense),
            "first": weights(network.latent_dim, network.dense),
        }
    layout = ("NHWC", "HWIO", "NHWC")

    def dense(x, layer):
        return x @ layer[0] + layer[1]

    def loss(parameters, images, noise):
        dtype = "bfloat16" if network.precision == "mixed_bfloat16" else "float32"
        parameters = jax.tree.map(lambda weight: weight.astype(dtype), parameters)
        x = images.astype(dtype)
        for kernel, bias in parameters["down"]:
            x = activation(jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=layout) + bias)
        x = x.reshape(len(x), -1)
        if network.dense:
            x = activation(dense(x, parameters["encoded"]))
        mean, log_variance = jnp.split(dense(x, parameters["latents"]).astype("float32"), 2, axis=1)
        x = (mean + jnp.exp(0.5 * log_variance) * noise).astype(dtype)
        if network.dense:
            x = activation(dense(x, parameters["first"]))
        x = activation(dense(x, parameters["decoded"]))
        x = x.reshape(len(x), network.bottom, network.bottom, -1)
        for level, (kernel, bias) in enumerate(parameters["up"]):
            x = jax.lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=layout) + bias
            x = activation(x) if level < depth - 1 else x
        kl = 0.5 * jnp.sum(jnp.exp(log_variance) + mean**2 - 1 - log_variance, axis=1)
        return jnp.mean(jnp.sum((x - images) ** 2, axis=(1, 2, 3)) + kl)

    return parameters, loss
