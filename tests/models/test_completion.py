"""Completions of a VAE against the exact conditional of a linear Gaussian one."""

import inspect

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ae import VAE, InputError
from keras_ae.models.completion import METHODS, _Chains, _log_density, complete
from keras_ae.objectives import get_likelihood
from keras_ae.priors import FlowMatching
from tests.helpers import batch, small_vae

SHAPE = (2, 3, 1)
PIXELS, LATENTS = 6, 2
VARIANCE = 0.004
MASK = np.array([[1, 1, 1], [1, 0, 0]], "float32")


W = np.linalg.qr(np.random.default_rng(3).normal(size=(PIXELS, LATENTS)))[0] * np.array([0.22, 0.12])
B = np.full(PIXELS, 0.5)  # x = W z + B + noise; W's columns are orthogonal, so that the posterior is diagonal


def linear_vae(trained_variance=VARIANCE, inflate=0.0, shift=0.0) -> VAE:
    """The linear VAE with the exact encoder for a pixel variance, or one that errs by a known amount."""
    precision = 1 + (W**2).sum(0) / trained_variance
    gain = W / trained_variance / precision
    image = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(image)
    z_mean, z_log_var = keras.layers.Dense(LATENTS), keras.layers.Dense(LATENTS, kernel_initializer="zeros")
    encoder = keras.Model(image, [z_mean(flat), z_log_var(flat)])
    z_mean.set_weights([gain, shift - B @ gain])
    z_log_var.set_weights([np.zeros((PIXELS, LATENTS)), inflate - np.log(precision)])
    decoder = keras.Sequential([keras.Input((LATENTS,)), keras.layers.Dense(PIXELS), keras.layers.Reshape(SHAPE)])
    decoder.set_weights([W.T, B])
    likelihood = "squared_error"
    if trained_variance != 0.5:
        likelihood = get_likelihood("gaussian_learned")
        likelihood.log_variance.assign(np.log(trained_variance))
    return VAE(encoder, decoder, likelihood=likelihood)


def exact_conditional(image):
    """Mean and covariance of the two missing pixels given the known ones, of N(b, W W' + VARIANCE I)."""
    known = MASK.reshape(-1) > 0
    covariance = W @ W.T + VARIANCE * np.eye(PIXELS)
    gain = covariance[~known][:, known] @ np.linalg.inv(covariance[known][:, known])
    mean = B[~known] + gain @ (image.reshape(-1)[known] - B[known])
    return mean, covariance[~known][:, ~known] - gain @ covariance[known][:, ~known]


CASES = {
    "exact encoder, pseudo-Gibbs": ({}, "pseudo_gibbs"),
    "exact encoder, Metropolis": ({}, "metropolis"),
    "wrong encoder, Metropolis": ({"inflate": 0.7, "shift": 0.15}, "metropolis"),
    "trained with another variance": ({"trained_variance": 0.5}, "metropolis"),
}


def chains(image, count=4000, **kwargs):
    """The missing pixels (count, 2) of completions."""
    kwargs, vae = kwargs.pop("of", {}), linear_vae(**kwargs)
    found = vae.complete(image, MASK[None], count, variance=VARIANCE, seed=1, **kwargs)
    np.testing.assert_array_equal(found[:, :, MASK > 0], np.broadcast_to(image[:, None, MASK > 0], (1, count, 4, 1)))
    return found[0, :, MASK == 0, 0].T


@pytest.mark.parametrize("case", CASES)
def test_completions_have_the_exact_conditional(case):
    errors, method = CASES[case]
    image = np.random.default_rng(0).normal(0.5, 0.1, (1, *SHAPE)).astype("float32")
    mean, covariance = exact_conditional(image)
    assert 5 * np.sqrt(covariance.max()) < 0.5  # nothing is clipped
    found = chains(image, **errors, of={"method": method, "steps": 300})
    error_of_mean = np.sqrt(np.diag(covariance) / len(found))
    assert (np.abs(found.mean(0) - mean) < 4 * error_of_mean).all()
    # The standard error of a variance is sqrt(2 / n) of it: 2%.
    np.testing.assert_allclose(np.cov(found.T), covariance, atol=0.09 * covariance.max())


def test_chains_weigh_latents_by_the_densities_of_scipy(random):
    """Exactly: what a prior of 0.8 the precision changes in the pixels is lost in the noise of the chains."""
    vae, images = linear_vae(), random.random((4, *SHAPE))
    chains = _Chains(vae, images, np.broadcast_to(MASK[..., None] > 0, images.shape), None, VARIANCE, random)
    z, spread = random.normal(size=(4, LATENTS)), random.uniform(0.1, 2, LATENTS)
    mean = vae.decoder.predict(z, verbose=0)
    joint = stats.norm.logpdf(chains.images, mean, np.sqrt(VARIANCE)).sum((1, 2, 3)) + stats.norm.logpdf(z).sum(1)
    assert np.ptp(chains._log_joint(z, mean) - joint) < 1e-3  # the same up to a constant
    proposal = stats.norm.logpdf(z, spread, np.sqrt(spread)).sum(1)
    assert np.ptp(_log_density(z, spread, np.log(spread)) - proposal) < 1e-9


@pytest.mark.parametrize("likelihood", ["squared_error", "gaussian_learned"])
def test_pixels_are_drawn_with_the_variance_of_the_likelihood_or_of_each_image(likelihood, random):
    vae, images = small_vae(conditioning="none", likelihood=likelihood), batch(3)["image"]
    known = np.broadcast_to(random.random((3, 8, 8, 1)) < 0.6, images.shape)
    chains = _Chains(vae, images, known, None, None, random)
    errors = np.square(images - chains.mean)
    expected = [errors[row][known[row]].mean() for row in range(3)] if likelihood == "squared_error" else 1.0
    np.testing.assert_allclose(chains.variance[:, 0, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["logistic", "logistic_mixture:2"])
def test_grey_levels_have_the_conditional_that_sums_give(likelihood):
    """Two pixels of which one is known, with an encoder that knows nothing."""
    shape, weights, offsets, log_scale, known = (1, 2, 1), np.array([0.5, -0.3]), np.array([0.1, 0.2]), -2.0, 0.4
    image, z = keras.Input(shape), keras.Input((1,))
    flat = keras.layers.Flatten()(image)
    encoder = keras.Model(image, [keras.layers.Dense(1, kernel_initializer="zeros")(flat) for _ in range(2)])
    sets, components = (2, 1) if likelihood == "logistic" else (3, 2)  # the logits first; two components alike
    layer = keras.layers.Dense(2 * sets * components)
    decoder = keras.Model(z, keras.layers.Reshape((1, 2, sets * components))(layer(z)))
    kernel, bias = np.zeros((1, 2, sets, components)), np.zeros((2, sets, components))
    kernel[0, :, -2], bias[:, -2], bias[:, -1] = weights[:, None], offsets[:, None], log_scale
    layer.set_weights([kernel.reshape(1, -1), bias.ravel()])
    vae = VAE(encoder, decoder, likelihood=likelihood)

    latents = np.linspace(-6, 6, 2001)
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 127.5 - 1, [np.inf]])
    cdf = stats.logistic.cdf(edges[:, None, None], latents[:, None] * weights + offsets, np.exp(log_scale))
    levels = np.diff(cdf, axis=0)  # (256, latents, pixels)
    level = round(255 * known)
    joint = (stats.norm.pdf(latents) * levels[level, :, 0]) @ levels[:, :, 1].T
    joint /= joint.sum()
    grey = np.arange(256) / 255
    mean = joint @ grey
    spread = np.sqrt(joint @ (grey - mean) ** 2)

    images, mask = np.full((1, *shape), level / 255, "float32"), np.array([[[1, 0]]])
    found = vae.complete(images, mask, 4000, steps=60, seed=1)[0, :, 0, 1, 0]
    np.testing.assert_allclose(found, np.round(255 * found) / 255, atol=1e-6)
    assert abs(found.mean() - mean) < 4 * spread / 4000**0.5
    np.testing.assert_allclose(found.std(), spread, rtol=0.06)
    alone = stats.norm.pdf(latents) @ levels[:, :, 1].T
    assert abs(mean - alone @ grey / alone.sum()) > 0.01
    means = vae.complete(images, mask, 400, steps=60, noise=False, seed=1)[0, :, 0, 1, 0]
    assert 0 < means.std() < found.std()


def test_the_variance_of_a_perfect_image_is_not_0(random):
    vae, known = linear_vae(trained_variance=0.5), np.broadcast_to(MASK[..., None] > 0, (1, *SHAPE))
    perfect = B.reshape(1, *SHAPE)  # z = 0
    np.testing.assert_allclose(_Chains(vae, perfect, known, None, None, random).variance, 1e-4)


def test_missing_pixels_start_as_the_means_of_the_known_ones(monkeypatch, random):
    monkeypatch.setattr("keras_ae.models.completion.FILLINGS", 1)
    vae, images = small_vae(conditioning="none"), batch(3)["image"]
    known = np.broadcast_to(random.random((3, 8, 8, 1)) < 0.6, images.shape)
    filled = images.copy()
    for row in range(3):
        for channel in range(3):
            here = known[row, ..., channel]
            filled[row, ..., channel][~here] = images[row, ..., channel][here].mean()
    chains = _Chains(vae, images, known, None, None, random)
    np.testing.assert_allclose(chains.z, vae.encode(filled)[0], atol=1e-5)
    np.testing.assert_allclose(chains.images[~known], chains.mean[~known])
    np.testing.assert_array_equal(chains.images[known], images[known])


def test_the_walk_finds_its_scale_in_ever_smaller_steps(random, monkeypatch):
    """Longer where it is accepted, shorter where it is not, and never the same for both chains."""
    vae, images = linear_vae(), random.random((2, *SHAPE))
    chains = _Chains(vae, images, np.broadcast_to(MASK[..., None] > 0, images.shape), None, VARIANCE, random)
    monkeypatch.setattr(chains, "_accepted", lambda *_: np.array([True, False]))
    for _ in range(5):
        chains.step(correct=True, warm_up=True)
    path = sum(step**-0.6 for step in range(1, 6))
    np.testing.assert_allclose(chains.scale[:, 0], 0.1 * np.exp(np.array([0.7, -0.3]) * path))


def test_settings_that_nobody_gave():
    defaults = {name: setting.default for name, setting in inspect.signature(complete).parameters.items()}
    expected = {"count": 4, "method": None, "steps": None, "variance": None, "noise": True, "seed": None}
    assert expected.items() <= defaults.items()
    assert METHODS == {"metropolis": 200, "pseudo_gibbs": 200, "flow": 20}
    once = small_vae().complete(batch(2)["image"], np.ones((2, 8, 8)), 1, labels=0, steps=1)
    assert once.shape == (2, 1, 8, 8, 3)


def test_many_images_are_completed_in_parts(monkeypatch):
    vae, images = small_vae(), batch(5)["image"]
    mask = np.ones((5, 8, 8))
    for row in range(5):
        mask[row, row] = 0
    monkeypatch.setattr("keras_ae.models.completion.CHAINS", 4)
    labels = np.array([0, 1, 2, 0, 1])
    completed = vae.complete(images, mask, 2, labels=labels, steps=1, seed=0)
    assert completed.shape == (5, 2, 8, 8, 3)
    differs = (completed != images[:, None]).any(-1)
    np.testing.assert_array_equal(differs, np.broadcast_to(mask[:, None] == 0, differs.shape))


def test_metropolis_mends_what_pseudo_gibbs_gets_wrong():
    image = np.random.default_rng(0).normal(0.5, 0.1, (1, *SHAPE)).astype("float32")
    mean, _ = exact_conditional(image)
    wrong = chains(image, shift=0.15, inflate=0.7, of={"method": "pseudo_gibbs", "steps": 50})
    assert np.abs(wrong.mean(0) - mean).max() > 0.02


def test_a_conditional_model_completes_on_every_seed_alike():
    vae = small_vae()
    images, labels = batch(3)["image"], batch(3)["label"]
    mask = np.ones((3, 8, 8, 1))
    mask[:, 2:5, 2:5] = 0
    found = vae.complete(images, mask, 2, labels=labels, steps=3, seed=4)
    assert found.shape == (3, 2, 8, 8, 3)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(found, vae.complete(images, mask[..., 0], 2, labels=labels, steps=3, seed=4))
    hidden = np.where(mask > 0, images, np.nan)  # what lies under the mask is not looked at
    np.testing.assert_array_equal(found, vae.complete(hidden, mask, 2, labels=labels, steps=3, seed=4))
    smooth = vae.complete(images, mask, 2, labels=labels, steps=3, seed=4, noise=False)
    assert np.abs(np.diff(smooth, axis=2)).mean() < np.abs(np.diff(found, axis=2)).mean()


def test_a_flow_completes_what_depends_on_the_known_pixels(monkeypatch):
    """Codes (a, b) of the exact coupling b = a: the image's left half is a, its right half b."""
    image = keras.Input((2, 2, 1))
    encoder = keras.Model(image, keras.layers.Lambda(lambda x: keras.ops.mean(x, (1, 3)))(image))
    code = keras.Input((2,))
    decoder = keras.Model(code, keras.layers.UpSampling2D((2, 1))(keras.layers.Reshape((1, 2, 1))(code)))
    prior = FlowMatching(8, 1)
    prior.build((None, 2))

    def velocity(z, time, labels, guidance):
        """Of codes (a, a) with a ~ N(0, 1): towards the line, E[code - noise | z]."""
        gain = 2 * time / (2 * time**2 + (1 - time) ** 2)
        mean = gain * z.mean(1, keepdims=True)
        return (mean - z) / (1 - time) if time < 1 else mean * 0

    vae = VAE(encoder, decoder, latent="deterministic", prior=prior)
    monkeypatch.setattr(vae.prior, "_velocity", velocity)
    images = np.array([0.2, 0.8], "float32").reshape(2, 1, 1, 1) * np.ones((1, 2, 2, 1), "float32")
    known = np.zeros((2, 2, 2))
    known[:, :, 0] = 1
    found = vae.complete(images, known, 200, seed=0)
    assert found.shape == (2, 200, 2, 2, 1)
    np.testing.assert_array_equal(found[:, :, :, 0], np.broadcast_to(images[:, None, :, 0], (2, 200, 2, 1)))
    right = found[:, :, 0, 1, 0]
    np.testing.assert_allclose(right.mean(1), [0.2, 0.8], atol=0.03)
    assert (right.std(1) < 0.1).all()  # the prior's own is 1
    mistakes = {"not for this model's prior": {"method": "metropolis"}, "leave out the variance": {"variance": 0.1}}
    for message, arguments in mistakes.items():
        with pytest.raises(InputError, match=message):
            vae.complete(images, known, **arguments)


MISTAKES = [
    ({"method": "gibbs"}, "known are metropolis, pseudo_gibbs, flow"),
    ({"method": "flow"}, "the method flow is not for this model's prior"),
    ({"count": 0}, "must be 1 or more"),
    ({"variance": 0.0}, "must be above 0"),
    ({"mask": np.ones((2, 8, 7))}, r"take \(2, 8, 8, 1\)"),
    ({"mask": np.full((2, 8, 8), 0.5)}, "other numbers"),
    ({"mask": np.stack([np.ones((8, 8)), np.zeros((8, 8))])}, "all pixels of image 1 are missing"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_say_what_is_accepted(arguments, message):
    vae = small_vae(conditioning="none")
    with pytest.raises(InputError, match=message):
        vae.complete(batch(2)["image"], **{"mask": np.ones((2, 8, 8)), **arguments})


def test_bernoulli_pixels_are_refused():
    with pytest.raises(InputError, match="drawn from it; leave out the variance"):
        small_vae(likelihood="logistic").complete(batch(1)["image"], np.ones((1, 8, 8)), labels=0, variance=0.1)
    with pytest.raises(InputError, match="no variance"):
        small_vae(conditioning="none", likelihood="bernoulli").complete(batch(1)["image"], np.ones((1, 8, 8)))
