"""Writes the results of one train step on the backend of the environment: python -m tests.backends.parity OUT."""

import sys

import keras
import numpy as np

from keras_ae.models import SharpFit
from keras_ae.networks import build_classifier, build_discriminator
from keras_ae.objectives import Adversarial, FeatureDistance
from keras_ae.priors import Autoregressive, FlowMatching
from tests.family import MEMBERS, SHAPE, member
from tests.helpers import batch, set_weights, small_vae

RATE = 64.0  # of a step whose change of the weights is the gradient: small ones don't drown in the weights' rounding
LIKELIHOODS = ("squared_error", "bernoulli", "gaussian", "gaussian_learned")


def models():
    """Name, VAE and images of each."""
    for name in LIKELIHOODS:
        yield name, small_vae(likelihood=name, free_bits=0.05, conditioning="both"), batch()
    for name, settings in MEMBERS.items():
        yield name, member(**settings), batch(image_shape=SHAPE)


def main() -> None:
    results = {}
    for name, vae, images in models():
        if name in MEMBERS and "elbo" in vae.objective.names:
            labels = None if vae.conditioning == "none" else images["label"]
            results[f"{name}/log_likelihood"] = vae.log_likelihood(images["image"], labels, draws=3)
        shape = (6 * vae.objective.k, *vae.latent_shape)
        noise = np.random.default_rng(5).normal(size=shape).astype("float32")
        vae.posterior_noise = lambda shape, training, noise=noise: keras.ops.convert_to_tensor(noise)
        results[f"{name}/sample"] = vae.sample(3, seed=1)
        vae.compile(keras.optimizers.SGD(RATE))
        results.update(of_a_step(name, vae, images))
    np.savez(sys.argv[1], **results, **of_fitted_priors(), **of_sharp())


def of_a_step(name: str, model: keras.Model, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The terms of a step's loss and its gradients."""
    start = [keras.ops.convert_to_numpy(weight).copy() for weight in model.trainable_variables]
    logs = model.fit(images, batch_size=6, shuffle=False, verbose=0).history
    results = {f"{name}/{term}": values[0] for term, values in logs.items()}
    for number, (before, weight) in enumerate(zip(start, model.trainable_variables, strict=True)):
        results[f"{name}/gradient_{number}"] = (before - keras.ops.convert_to_numpy(weight)) / RATE
    return results


def of_fitted_priors() -> dict[str, np.ndarray]:
    """Samples of priors that are networks."""
    results = {}
    for name, prior in (("flow matching", FlowMatching(8, 2, 3)), ("tokens", Autoregressive(32, 2, 3))):
        prior.build((None, 3, 4, 2), codes=16)
        set_weights(prior.weights)
        drawn = prior.sample(200, np.random.default_rng(0), labels=np.arange(200) % 3, guidance=2.0)
        results[f"{name}/sample"] = drawn
    return results


def of_sharp() -> dict[str, np.ndarray]:
    """Losses and gradients of a step with features and a discriminator."""
    classifier, discriminator = build_classifier(SHAPE, 3, width=8), build_discriminator(SHAPE, width=8)
    set_weights(classifier.weights + discriminator.weights)
    fit = SharpFit(
        member(**MEMBERS["fsq"]),
        features=FeatureDistance(classifier),
        adversarial=Adversarial(discriminator, weight=0.01),
    )
    fit.compile([keras.optimizers.SGD(RATE), keras.optimizers.SGD(RATE)])
    return of_a_step("sharp", fit, batch(image_shape=SHAPE))


if __name__ == "__main__":
    main()
