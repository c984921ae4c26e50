"""Missing pixels drawn from a VAE given the known ones: Markov chains over (latents, missing pixels), and rounds of a
fitted flow."""

import keras
import numpy as np
from keras import ops

from keras_ae.errors import InputError, one_of
from keras_ae.models.inputs import checked_known, checked_labels
from keras_ae.priors import FlowMatching

METHODS = {"metropolis": 200, "pseudo_gibbs": 200, "flow": 20}  # and their steps
CHAINS = 256  # at once
FILLINGS = 10  # deterministic rounds before the chain
ACCEPTANCE = 0.3  # of the random walk's steps, near the best for any dimension (Roberts & Rosenthal 2001)
MIN_VARIANCE = 1e-4  # a standard deviation of 2.5 grey levels


def complete(
    vae,
    images: np.ndarray,
    mask: np.ndarray,
    count: int = 4,
    *,
    labels=None,
    method: str | None = None,
    steps: int | None = None,
    variance: float | None = None,
    noise: bool = True,
    seed: int | None = None,
) -> np.ndarray:
    """Draws `count` completions of each image given its known pixels, which stay as they are.

    Args:
        images: (n, height, width, channels); what they hold at missing pixels is not looked at.
        mask: 1 where a pixel is known, 0 where it is missing, (n, height, width) or (n, height, width, 1).
        labels: as `sample` takes them; for a conditional model, or one whose prior knows classes.
        method: "pseudo_gibbs" draws latents from the encoder and missing pixels from the decoder in turn
            (Rezende et al. 2014, appendix F). "metropolis" then accepts or rejects each draw of latents,
            which makes the limit exact for every encoder (Mattei & Frellsen 2018, "Leveraging the exact
            likelihood of deep latent variable models", algorithm 1). A step of a random walk follows each.
            "flow", for a flow-matching prior, which has no density: each round encodes the filled image, mixes noise
            into its code and lets the flow carry it back (Meng et al. 2022, "SDEdit"), with less noise from round to
            round. Where `None`, "flow" with such a prior, else "metropolis".
        steps: of the chain, or rounds. Where `None`, 200, or 20 rounds.
        variance: of a pixel given the latents. Where `None`, the likelihood's own; "squared_error", whose
            1/2 is far too wide to draw pixels from, takes each image's mean squared error over its known pixels.
            Likelihoods of grey levels have none: their pixels are drawn from them.
        noise: whether missing pixels are drawn, or are their means given the last latents. By "flow" they are means.

    Returns:
        (n, count, height, width, channels), in [0, 1].

    Raises:
        InputError: a number, method, image, mask or label that is not possible; pixels that are neither Gaussian nor
            grey levels.

    >>> import keras_ae, numpy as np
    >>> vae = keras_ae.conv_vae((8, 8, 1), 2, width=4)
    >>> known = np.ones((1, 8, 8))
    >>> known[:, 2:5, 2:5] = 0
    >>> vae.complete(np.full((1, 8, 8, 1), 0.5), known, count=2, steps=2, seed=0).shape
    (1, 2, 8, 8, 1)
    """
    method = method or ("flow" if isinstance(vae.prior, FlowMatching) else "metropolis")
    one_of(method, METHODS, "method")
    steps = METHODS[method] if steps is None else steps
    _check(vae, count, method, steps, variance)
    images, mask = checked_known(images, mask, vae.image_shape)
    if labels is not None and vae.samples_classes:
        label = checked_labels(labels, len(images), vae.class_names)
    else:
        label = vae.label_ids(labels, len(images))
    random = np.random.default_rng(seed)
    at_once = max(1, CHAINS // count)
    completed = []
    for start in range(0, len(images), at_once):
        part = slice(start, start + at_once)
        known = np.repeat(mask[part], count, axis=0) > 0
        label_of_chains = None if label is None else np.repeat(label[part], count)
        if method == "flow":
            filled = np.repeat(images[part], count, axis=0)
            completed.append(_carried(vae, filled, known, label_of_chains, steps, random))
            continue
        chains = _Chains(vae, np.repeat(images[part], count, axis=0), known, label_of_chains, variance, random)
        for step in range(steps):
            chains.step(correct=method == "metropolis", warm_up=step < steps // 5)
        completed.append(chains.images if noise else np.where(chains.known, chains.images, chains.mean))
    completed = np.clip(np.concatenate(completed), 0, 1, dtype="float32")
    return completed.reshape(-1, count, *vae.image_shape)


def _check(vae, count, method, steps, variance) -> None:
    if (method == "flow") != isinstance(vae.prior, FlowMatching):
        raise InputError(f"the method {method} is not for this model's prior; leave it out")
    if min(count, steps) < 1:
        raise InputError(f"count {count} and steps {steps} must be 1 or more")
    if method == "flow":
        if variance is not None:
            raise InputError("a flow draws codes, and no pixels; leave out the variance")
        return
    if vae.likelihood.variance is None and not vae.likelihood.is_discretized:
        raise InputError("completions are drawn from Gaussian pixels; this model's likelihood has no variance")
    if vae.likelihood.is_discretized and variance is not None:
        raise InputError("pixels of a likelihood of grey levels are drawn from it; leave out the variance")
    if not vae.latent.is_random:
        raise InputError("completions move Gaussian latents, and this model has none")
    if variance is not None and not variance > 0:
        raise InputError(f"variance {variance} must be above 0")


def _carried(vae, images, known, label, steps: int, random) -> np.ndarray:
    """Missing pixels by a flow. The first round starts from noise alone, the last with hardly any."""
    average = np.nanmean(np.where(known, images, np.nan), axis=(1, 2), keepdims=True)
    filled = np.where(known, images, average).astype("float32")
    own = label if vae.conditioning != "none" else None
    for time in np.arange(steps) / steps:
        code = vae.prior.carried(vae.code(filled, own), time, random, label)
        filled = np.where(known, images, vae.decode(code, own))
    return filled


class _Chains:
    """Independent chains side by side. Each has an image, whose known pixels stay, and latents."""

    def __init__(self, vae, images, known, label, variance, random):
        self.vae, self.known, self.label, self.random = vae, known, label, random
        self.log_prior = _log_prior(vae)
        nothing = np.zeros((len(images), *vae.latent_shape), "float32")
        average = np.nanmean(np.where(known, images, np.nan), axis=(1, 2), keepdims=True)
        self.images = np.where(known, images, average)
        for _ in range(FILLINGS):
            self.z, *_ = self._propose(nothing, nothing)
            self.output = self._decode(self.z)
            self.images = np.where(known, images, self.mean)
        self.variance = None if vae.likelihood.is_discretized else self._variance_of(images, variance)
        self.one_each = (len(images), *(1 for _ in vae.latent_shape))
        self.scale, self.steps = np.full(self.one_each, 0.1), 0  # of the random walk

    @property
    def mean(self) -> np.ndarray:
        """Of the pixels given the latents."""
        return ops.convert_to_numpy(self.vae.likelihood.mean(ops.convert_to_tensor(self.output)))

    def _variance_of(self, images, variance) -> np.ndarray:
        """Of a pixel given the latents, (chains, 1, 1, 1)."""
        if variance is None:
            variance = self.vae.likelihood.variance
            if self.vae.likelihood.estimate_variance:
                error = np.where(self.known, np.square(images - self.mean), 0).mean(axis=(1, 2, 3), keepdims=True)
                variance = np.maximum(error / self.known.mean(axis=(1, 2, 3), keepdims=True), MIN_VARIANCE)
        return np.broadcast_to(variance, (len(images), 1, 1, 1))

    def step(self, correct: bool, warm_up: bool) -> None:
        """New latents given the whole image, then new missing pixels given the latents.

        With `correct`, latents are proposed by the encoder and accepted with the probability that makes the
        chain's limit the model's own conditional (Mattei & Frellsen 2018, algorithm 1). An encoder trained
        with a larger variance proposes too widely to be accepted often, so that a step of a random walk,
        which leaves the same limit, follows. In the warm-up all proposals of the encoder are accepted, as
        hardly one would be from a filling far off.
        """
        noise = self.random.standard_normal(self.z.shape, dtype="float32")
        z, own, at_current = self._propose(noise, self.z)
        output = self._decode(z)
        accepted = np.ones(len(z), bool)
        if correct and not warm_up:
            proposed, current = _log_density(z, *own), _log_density(self.z, *at_current)
            accepted = self._accepted(z, output, current - proposed)
        self._move(z, output, accepted)
        if correct:
            z = self.z + self.scale * self.random.standard_normal(z.shape, dtype="float32")
            output = self._decode(z)
            accepted = self._accepted(z, output)
            self._move(z, output, accepted)
            # Ever smaller adaptations keep the limit (Roberts & Rosenthal 2007, theorem 5).
            self.steps += 1
            moved = accepted.reshape(self.one_each)
            self.scale = self.scale * np.exp((moved - ACCEPTANCE) / self.steps**0.6)
        self.images = np.where(self.known, self.images, self._pixels())

    def _pixels(self) -> np.ndarray:
        """Drawn given the latents."""
        if self.variance is None:
            return self.vae.likelihood.draw(self.output, self.random)
        return self.mean + np.sqrt(self.variance) * self.random.standard_normal(self.images.shape, dtype="float32")

    def _accepted(self, z, output, correction=0.0):
        """Which chains (chains,) move to z. `correction` is log q(current) - log q(proposed)."""
        gain = self._log_joint(z, output) - self._log_joint(self.z, self.output) + correction
        return np.log(self.random.random(len(z))) < gain

    def _move(self, z, output, accepted):
        self.z = np.where(accepted.reshape(self.one_each), z, self.z)
        self.output = np.where(accepted[:, None, None, None], output, self.output)

    def _log_joint(self, z, output):
        """log p(image | z) + log p(z), (chains,), up to a constant. The mean of Gaussian pixels is the output."""
        if self.variance is None:
            images, outputs = (ops.convert_to_tensor(x.astype("float32")) for x in (self.images, output))
            likelihood = ops.convert_to_numpy(self.vae.likelihood(images, outputs)[1])
        else:
            likelihood = -np.square(self.images - output).sum((1, 2, 3)) / (2 * self.variance[:, 0, 0, 0])
        return likelihood + self.log_prior(z, self.label)

    def _propose(self, noise, current):
        return self.vae.propose(self.images.astype("float32"), self.label, noise, current.astype("float32"))

    def _decode(self, z):
        return self.vae.decoder.predict_on_batch(self.vae.decoder_inputs(z.astype("float32"), self.label))


def _log_density(z, mean, log_var):
    """Of diagonal Gaussians at z, (chains,), up to a constant."""
    errors = np.square((z - mean).astype("float64")) * np.exp(-log_var)
    return -0.5 * (errors + log_var).reshape(len(z), -1).sum(1)


def _log_prior(vae):
    """Function of latents and labels in NumPy -> log p(z) (n,)."""
    inputs = [keras.Input(vae.latent_shape)] + [keras.Input((), dtype="int32")] * (vae.conditioning != "none")
    density = keras.Model(inputs, LogPrior(vae)(inputs))

    def log_prior(z, label):
        z = z.astype("float32")
        return density.predict_on_batch([z] if label is None else [z, label])

    return log_prior


class LogPrior(keras.layers.Layer):
    """[latents (n, *latent_shape)(, labels (n,))] -> log p(z) (n,), as a layer that Keras compiles."""

    def __init__(self, vae):
        super().__init__(dtype="float32")
        self.vae = vae

    def call(self, inputs):
        return self.vae.log_prior(*inputs)
