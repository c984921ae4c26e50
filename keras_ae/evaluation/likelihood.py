"""How likely a VAE finds images."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from keras_ae import backends
from keras_ae.data import Split, evaluation_batches
from keras_ae.errors import InputError
from keras_ae.files import digest, read_json, write_json
from keras_ae.models import VAE
from keras_ae.objectives import IWAE
from keras_ae.objectives.elbo import bits_per_dimension
from keras_ae.trust.sizes import BYTES, numbers_per_image

MEMORY = 2**28  # bytes for the draws of one call, counted as if nothing were freed
MOST_ROWS = 2500  # draws of one call: more are slower
KEPT_EVERY = 30  # seconds
VALUES = "log_likelihoods"


def evaluate_vae(vae: VAE, split: Split, draws: int | None, **kwargs) -> dict[str, float]:
    """See `evaluate`; `kwargs` are of `log_likelihoods`."""
    results = vae.evaluate(evaluation_batches(split), return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    likelihood = vae.likelihood
    if (likelihood.is_density or likelihood.is_discretized) and "elbo" in results:
        results["bits_per_dimension"] = bits_per_dimension(
            results["elbo"], vae.image_shape, discretized=likelihood.is_discretized
        )
    if draws is not None:
        values = log_likelihoods(vae, split.batch, len(split), draws, **kwargs)
        results["log_likelihood"] = float(values.mean())
        results["standard_error"] = float(values.std() / math.sqrt(len(values)))
        results["draws"] = draws
    return results


def log_likelihoods(
    vae: VAE,
    batch: Callable[[slice], dict],
    images: int,
    draws: int,
    *,
    seed: int = 0,
    kept: Path | str | None = None,
    verbose: bool = False,
) -> np.ndarray:
    """log p(image) by importance sampling: log (1/K) sum_k p(image, z_k) / q(z_k | image), with K draws from the
    posterior (Burda et al. 2016, section 5). Its mean is at most log p(image), and the closer the more draws there are.

    The sum is made in float64, a part of the draws at a time. The noise is drawn in NumPy; that of an image depends on
    the seed and the image's place alone.

    Args:
        batch: a slice of places -> `image` (n, height, width, channels) and `label` (n,), as `Split.batch`.
        images: how many there are.
        draws: K, for each image.
        kept: a folder for the values of a call that is stopped. The same call continues from there.
        verbose: whether a bar shows on a terminal how far it is.

    Returns:
        (images,) float64, in nats.

    Raises:
        InputError: no draws.

    >>> import keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> vae = keras_ae.build_vae(shapes.image_shape, 2, network="mlp", width=4)
    >>> log_likelihoods(vae, shapes.test.batch, len(shapes.test), draws=10).shape
    (40,)
    """
    if draws < 1:
        raise InputError(f"{draws} draws are not possible; give 1 or more")
    if "elbo" not in vae.objective.names:
        raise InputError("a code without noise has no log-likelihood; leave out the draws")
    rows = min(MOST_ROWS, max(1, MEMORY // (BYTES * numbers_per_image(vae))))
    at_once = max(1, rows // draws) * backends.world().replicas  # images
    parts = [min(rows, draws - start) for start in range(0, draws, rows)]
    with backends.replicated():
        models = {size: LogWeights(vae, size) for size in set(parts)}
    path = kept and Path(kept) / _name(vae, batch(slice(0, at_once)), images, draws, seed)
    values, written = backends.once(lambda: _read(path)[:images]), time.monotonic()
    path = path if backends.is_first() else None
    bar = tqdm(total=images, initial=len(values), desc="log-likelihood", unit="image", disable=not verbose)
    try:
        while len(values) < images:
            places = range(len(values), min(len(values) + at_once, images))
            randoms = [np.random.default_rng([seed, place]) for place in places]
            values += _of_batch(models, batch(slice(places.start, places.stop)), randoms, parts)
            bar.update(len(places))
            bar.set_postfix_str(f"mean {np.mean(values):.2f}", refresh=False)
            if path and time.monotonic() > written + KEPT_EVERY:
                write_json(path, {VALUES: values})
                written = time.monotonic()
    except BaseException:
        if path:
            write_json(path, {VALUES: values})
        raise
    finally:
        bar.close()
    if path:
        path.unlink(missing_ok=True)
    return np.array(values)


class LogWeights(keras.Model):
    """log p(image, z) - log q(z | image) of each draw, compiled for `predict_on_batch`: a dict of `image`
    (n, height, width, channels), `noise` (n, draws, *latent_shape) and, for a conditional model, `label` (n,)
    -> (n, draws).

    >>> import keras_ae
    >>> weights = LogWeights(keras_ae.build_vae((8, 8, 1), 2, network="mlp", width=4), draws=3)
    >>> weights.predict_on_batch({"image": np.zeros((2, 8, 8, 1)), "noise": np.zeros((2, 3, 2))}).shape
    (2, 3)
    """

    def __init__(self, vae: VAE, draws: int):
        super().__init__(dtype="float32")  # or Keras would give it images and noise in half precision
        self.vae = vae
        self.objective = IWAE(draws, dreg=False)
        self.built = True

    def call(self, inputs):
        image, label, noise = inputs["image"], inputs.get("label"), inputs["noise"]
        noise = ops.reshape(noise, (-1, *noise.shape[2:]))
        inference, *_ = self.vae.infer(image, label, image, objective=self.objective, noise=noise)
        return inference.log_weights()


def _of_batch(models: dict[int, LogWeights], batch: dict, randoms: list, parts: list[int]) -> list[float]:
    """The log-likelihoods of a batch, with so many draws an image in each part."""
    total = np.full(len(randoms), -np.inf)
    for size in parts:
        model = models[size]
        noise = [random.standard_normal((size, *model.vae.latent_shape), dtype="float32") for random in randoms]
        inputs = {"image": batch["image"], "noise": np.stack(noise)}
        if model.vae.conditioning != "none":
            inputs["label"] = batch["label"]
        weights = backends.predict(model, inputs).astype("float64")
        total = np.logaddexp(total, np.logaddexp.reduce(weights, axis=1))
    return list(total - math.log(sum(parts)))


def _name(vae: VAE, first: dict, *numbers: int) -> str:
    """Of the file for the values of a call: other weights, images, draws or seeds have another."""
    return f"log_likelihood-{digest((*vae.get_weights(), *first.values()), salt=str(numbers))}.json"


def _read(path: Path | None) -> list[float]:
    """The values that a call was stopped with."""
    try:
        return list(map(float, read_json(path)[VALUES])) if path else []
    except (OSError, ValueError, TypeError, KeyError):
        return []
