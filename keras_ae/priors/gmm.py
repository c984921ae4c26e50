"""Gaussians with full covariances, fitted to codes."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae.errors import InputError
from keras_ae.priors.base import Prior, named

MOST_NUMBERS = 2**22  # of all covariances together
COMPONENTS = (1, 2, 5, 10, 20, 50, 100)  # that `fitted` tries
HELD_OUT = 10  # one code in so many says how many components are best
SHARPEST = 1e-6  # added to variances


@keras.saving.register_keras_serializable("keras_ae")
class GMM(Prior):
    """A mixture of Gaussians with full covariances, one for each class, fitted to the codes of a trained model (Ghosh
    et al. 2020, "From variational to deterministic autoencoders", section 4).

    Args:
        components: Gaussians of each class.
        classes: how many; 0 where codes have no class.

    Raises:
        InputError: less than 1 component, or covariances of more than 2^22 numbers.

    >>> codes = np.random.default_rng(0).normal(3, 1, (500, 2)).astype("float32")
    >>> prior = GMM.fitted(codes, most=5)
    >>> prior.components, prior.sample(4, np.random.default_rng(0)).shape
    (1, (4, 2))
    """

    number = ("components", int)

    def __init__(self, components: int = 10, classes: int = 0, **kwargs):
        super().__init__(**kwargs)
        if components < 1:
            raise InputError(f"{components} components are not possible; give 1 or more")
        self.components = components
        self.classes = classes

    def build(self, latent_shape, image_shape=None, codes=None):
        super().build(latent_shape)
        count, d = max(1, self.classes) * self.components, self.latents
        if count * d * d > MOST_NUMBERS:
            raise InputError(f"{count} covariances of {d} latents are too many numbers; take fewer components")

        def weight(name, shape, initializer="zeros"):
            return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

        self.log_weights = weight("log_weights", (count,))  # class by class
        self.means = weight("means", (count, d))
        self.whitening = weight("whitening", (count, d, d))  # upper triangles: (z - mean) @ it is noise

    def for_codes(self, codes, labels, seed=0):
        return self.fitted(codes, labels, classes=self.classes, most=self.components, seed=seed)

    @classmethod
    def fitted(
        cls, codes: np.ndarray, labels: np.ndarray | None = None, *, classes: int = 0, most: int = 10, seed: int = 0
    ) -> "GMM":
        """The mixture with as many components as codes that are held out find most likely.

        Args:
            codes: (n, *latent_shape).
            labels: (n,), below `classes`.
            most: components of a class that are tried.

        Raises:
            InputError: a class has fewer codes than components.
        """
        flat = codes.reshape(len(codes), -1).astype("float64")
        labels = np.zeros(len(flat), int) if labels is None or not classes else labels
        groups = [flat[labels == label] for label in range(max(1, classes))]
        scores = {}
        for count in sorted({*(count for count in COMPONENTS if count < most), most}):
            scores[count] = sum(_held_out_score(group, count, seed) for group in groups)
        best = max(scores, key=scores.get)
        prior = cls(best, classes)
        prior.build((None, *codes.shape[1:]))
        mixtures = [_mixture(group, best, seed) for group in groups]
        shares = np.log([len(group) / len(flat) for group in groups])
        parts = zip(mixtures, shares, strict=True)
        prior.log_weights.assign(np.concatenate([np.log(mixture.weights_) + share for mixture, share in parts]))
        prior.means.assign(np.concatenate([mixture.means_ for mixture in mixtures]))
        prior.whitening.assign(np.concatenate([mixture.precisions_cholesky_ for mixture in mixtures]))
        return prior

    def log_prob(self, z, encode=None):
        """Of codes of all classes together."""
        z = self.flat(z)
        whitening = ops.convert_to_tensor(self.whitening)
        noise = ops.einsum("nd,kde->nke", z, whitening) - ops.einsum("kd,kde->ke", self.means, whitening)
        volumes = ops.sum(ops.log(ops.diagonal(whitening, axis1=1, axis2=2)), axis=1)
        densities = -0.5 * ops.sum(ops.square(noise) + math.log(2 * math.pi), axis=2) + volumes
        return ops.logsumexp(densities + self.log_weights, axis=1)

    def sample(self, n, random, temperature=1.0, encode=None, labels=None):
        log_weights, means, whitening = (ops.convert_to_numpy(weight.value) for weight in self.weights)
        weights = np.exp(log_weights.astype("float64"))
        if labels is not None and self.classes:
            own = np.arange(len(weights)) // self.components == np.asarray(labels)[:, None]
            weights = np.where(own, weights, 0)
        ends = np.cumsum(np.broadcast_to(weights, (n, len(means))), axis=1)
        chosen = (random.random((n, 1)) * ends[:, -1:] >= ends).sum(1)
        noise = temperature * random.standard_normal((n, self.latents, 1))
        spread = np.linalg.solve(whitening[chosen].swapaxes(1, 2), noise)[..., 0]
        return (means[chosen] + spread).astype("float32").reshape(n, *self.latent_shape)

    def step(self, encode=None):
        log_weights, means, whitening = (ops.convert_to_numpy(weight.value) for weight in self.weights)
        weights = np.exp(log_weights.astype("float64"))
        if self.classes:
            own = np.arange(len(weights)) // self.components == np.arange(self.classes)[:, None]
            weights = np.where(own, weights, 0)
        ends = np.cumsum(np.atleast_2d(weights), axis=1)
        ends = (ends / ends[:, -1:]).astype("float32")
        noise, share = keras.Input(self.latent_shape, name="noise"), keras.Input((), name="share")
        label = keras.Input((), dtype="int32", name="label") if self.classes else None
        ends = ops.take(ends, label, axis=0) if self.classes else ends
        chosen = ops.sum(ops.cast(share[:, None] >= ends, "int32"), axis=1)
        spread = ops.take(np.linalg.inv(whitening).swapaxes(1, 2), chosen, axis=0)
        z = ops.take(means, chosen, axis=0) + ops.sum(spread * ops.reshape(noise, (-1, 1, self.latents)), axis=2)
        inputs = [noise, share, *([label] if self.classes else [])]
        return keras.Model(inputs, named(ops.reshape(z, (-1, *self.latent_shape)), "z"))

    def scratch(self, inputs, outputs) -> int:
        """The noise of an image under each Gaussian."""
        return 4 * max(1, self.classes) * self.components * self.latents

    def get_config(self):
        return {**super().get_config(), "components": self.components, "classes": self.classes}


def _held_out_score(codes: np.ndarray, components: int, seed: int) -> float:
    held_out = np.arange(len(codes)) % HELD_OUT == HELD_OUT - 1
    return _mixture(codes[~held_out], components, seed).score_samples(codes[held_out]).sum()


def _mixture(codes: np.ndarray, components: int, seed: int):
    from sklearn.mixture import GaussianMixture

    if len(codes) < 2 * components:
        raise InputError(f"{len(codes)} codes of a class are too few for {components} Gaussians; take fewer")
    return GaussianMixture(components, reg_covar=SHARPEST, random_state=seed, max_iter=200).fit(codes)
