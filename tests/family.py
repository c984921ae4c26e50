"""Small VAEs of all kinds, and a linear one of which everything has a closed form."""

import keras
import numpy as np
from scipy import stats

import keras_ae
from keras_ae import build_vae, priors
from keras_ae.latents import VQ
from keras_ae.objectives import TotalCorrelation
from tests.helpers import CLASSES, set_weights

SHAPE = (6, 5, 1)
PIXELS = 30
LATENTS, VARIANCE = 2, 0.5  # of a pixel, as in the squared error


def member(latent_dim=4, conditioning="both", likelihood="gaussian", **kwargs) -> keras_ae.VAE:
    vae = build_vae(
        SHAPE, latent_dim, width=4, class_names=CLASSES, conditioning=conditioning, likelihood=likelihood, **kwargs
    )
    codebook = [vae.latent.codebook] if isinstance(vae.latent, VQ) else []
    below = [weight for networks in getattr(vae, "networks", []) for net in networks[1:] for weight in net.weights]
    spread = 0.09 if below else 0.15  # a hierarchy is deep
    set_weights(vae.encoder.weights + vae.decoder.weights + vae.prior.weights + codebook + below, spread)
    return vae


MEMBERS = {  # each part in one of them, and priors and objectives of several draws together
    "spatial mixture": {"latent_dim": (2, 3, 2), "prior": "mixture:3"},
    "vamp": {"prior": "vamp:3"},
    "residual flow": {"network": "residual", "latent_dim": (2, 3, 1), "prior": "flow:2"},
    "mlp iwae vamp": {"network": "mlp", "objective": "iwae:3", "prior": "vamp:2", "conditioning": "none"},
    "fsq": {"latent": "fsq:3x4", "latent_dim": (2, 3)},
    "vq": {"latent": "vq:6", "latent_dim": (2, 3, 2), "conditioning": "none"},
    "logistic mixture": {"likelihood": "logistic_mixture:2", "conditioning": "none"},
    "hierarchy": {"network": "hierarchical", "latent_dim": [(2, 2, 2), (3, 3, 1), (3, 3, 2)], "prior": "vamp:2"},
    "dense hierarchy": {
        "network": "hierarchical",
        "latent_dim": [(3,), (2,)],
        "objective": "iwae:2",
    },
    "deterministic": {"latent": "deterministic", "latent_dim": 3},
    "gated tc": {"network": "gated", "latent_dim": (1, 2, 2), "regularizers": [TotalCorrelation(6, images=50)]},
}


def with_fitted(prior, **kwargs) -> keras_ae.VAE:
    """A VAE of spatial codes, or of tokens, with a prior of labelled codes."""
    vae = keras_ae.with_prior(member(latent_dim=(2, 3, 2), **kwargs), prior)
    set_weights(vae.prior.weights)
    return vae


def gmm() -> keras_ae.VAE:
    codes = np.random.default_rng(0).normal(2, 1, (120, 2, 3, 2)).astype("float32")
    prior = priors.GMM.fitted(codes, np.arange(120) % 3, classes=3, most=2)
    return keras_ae.with_prior(member(latent_dim=(2, 3, 2)), prior)


def flow_matching() -> keras_ae.VAE:
    prior = priors.FlowMatching(width=8, blocks=1, classes=3)
    prior.build((None, 2, 3, 2))
    return with_fitted(prior)


def tokens() -> keras_ae.VAE:
    return with_fitted(priors.Autoregressive(width=32, blocks=2, classes=3), latent="vq_cosine:6")


FITTED = {"gmm": gmm, "flow matching": flow_matching, "tokens": tokens}  # priors of the codes of a trained model


def linear(objective="elbo", exact: bool = True, prior="standard", **kwargs) -> keras_ae.VAE:
    """x ~ N(W z + b, 1/2) with z ~ N(0, I): a likelihood of squared error. The encoder gives the exact posterior, whose
    covariance is diagonal as the columns of W are orthogonal; or a posterior somewhat wide of it."""
    columns = np.linalg.qr(np.random.default_rng(0).normal(size=(PIXELS, LATENTS)))[0] * [1.5, 0.7]
    offset = np.random.default_rng(1).normal(0.5, 0.1, PIXELS)
    precision = 1 + (columns**2).sum(0) / VARIANCE
    gain = columns / VARIANCE / precision
    image, z = keras.Input(SHAPE), keras.Input((LATENTS,))
    flat = keras.layers.Flatten()(image)
    heads = [keras.layers.Dense(LATENTS), keras.layers.Dense(LATENTS)]
    encoder = keras.Model(image, [head(flat) for head in heads])
    dense = keras.layers.Dense(PIXELS)
    decoder = keras.Model(z, keras.layers.Reshape(SHAPE)(dense(z)))
    dense.set_weights([columns.T, offset])
    shift, widen = (0, 0) if exact else (0.3, 0.5)
    heads[0].set_weights([gain, -offset @ gain + shift])
    heads[1].set_weights([np.zeros_like(gain), -np.log(precision) + widen])
    return keras_ae.VAE(encoder, decoder, objective=objective, prior=prior, **kwargs)


def log_density(vae, images) -> np.ndarray:
    """log p(x), exact."""
    columns, offset = (weight.astype("float64") for weight in vae.decoder.get_weights())
    covariance = columns.T @ columns + VARIANCE * np.eye(len(offset))
    return stats.multivariate_normal(offset, covariance).logpdf(images.reshape(len(images), -1))
