"""Likelihoods of grey levels, against SciPy and sums over all levels."""

import keras
import numpy as np
import pytest
from scipy import special, stats

import keras_ae
from keras_ae import InputError
from keras_ae.objectives import get_likelihood

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor
LEVELS = np.arange(256) / 255


def masses(mean, log_scale):
    """Of the 256 levels, (..., 256)."""
    edges = np.concatenate([[-np.inf], 2 * (np.arange(1, 256) - 0.5) / 255 - 1, [np.inf]])
    scale = np.exp(np.maximum(log_scale, -7))
    cumulative = stats.logistic.cdf(edges, np.asarray(mean)[..., None], np.asarray(scale)[..., None])
    return np.diff(cumulative, axis=-1)


def log_likelihood(likelihood, images, output):
    return to_numpy(likelihood(tensor(images.astype("float32")), tensor(output.astype("float32")))[1])


def pairs() -> np.ndarray:
    """All images (256^2, 1, 1, 2) of one pixel and two channels."""
    return np.stack(np.meshgrid(LEVELS, LEVELS, indexing="ij"), axis=-1).reshape(-1, 1, 1, 2)


def test_a_logistic_is_scipys(random):
    images = LEVELS[random.integers(0, 256, (4, 3, 2, 2))]
    images[0, 0, 0], images[1, 0, 0] = 0, 1
    mean, log_scale = random.normal(0, 0.7, images.shape), random.uniform(-2, 1, images.shape)
    mass = np.take_along_axis(masses(mean, log_scale), np.rint(255 * images).astype(int)[..., None], axis=-1)
    found = log_likelihood(get_likelihood("logistic"), images, np.concatenate([mean, log_scale], axis=-1))
    np.testing.assert_allclose(found, np.log(mass[..., 0]).sum((1, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("log_scale", [-30.0, -6.0, 0.0, 5.0])
@pytest.mark.parametrize("mean", [-40.0, -1.0, 0.3, 40.0])
def test_the_levels_of_a_logistic_sum_to_1(mean, log_scale):
    output = np.broadcast_to([mean, log_scale], (256, 1, 1, 2))
    found = log_likelihood(get_likelihood("logistic"), LEVELS.reshape(-1, 1, 1, 1), output)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(special.logsumexp(found), 0, atol=2e-4)


def test_a_mixture_is_numpys(random):
    """Two channels, and three components that share their choice."""
    output = random.normal(size=(1, 1, 1, 18))
    output[..., 9:15] -= 2
    logits, r, g, log_r, log_g, coefficient = output.reshape(6, 3)
    share = np.exp(logits) / np.exp(logits).sum()
    grey = 2 * LEVELS - 1
    first = masses(r, log_r)  # (3, 256)
    second = masses(g[:, None] + np.tanh(coefficient)[:, None] * grey, np.broadcast_to(log_g[:, None], (3, 256)))
    expected = np.log((share[:, None, None] * first[..., None] * second).sum(0)).ravel()
    found = log_likelihood(get_likelihood("logistic_mixture:3"), pairs(), np.broadcast_to(output, (65536, 1, 1, 18)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(special.logsumexp(found), 0, atol=1e-3)


def test_the_third_channel_sees_both_before_it(random):
    likelihood = get_likelihood("logistic_mixture:1")
    output = np.zeros((256, 1, 1, likelihood.channels(3)), "float32")
    output[..., 1:4], output[..., 4:7] = [0.1, -0.2, 0.05], -3
    output[..., 7:] = np.arctanh([0.5, -0.3, 0.8])
    images = np.stack(np.broadcast_arrays(LEVELS[90], LEVELS[200], LEVELS), axis=-1).reshape(256, 1, 1, 3)
    r, g = 2 * images[0, 0, 0, :2] - 1
    expected = np.log(masses(0.1, -3)[90] * masses(-0.2 + 0.5 * r, -3)[200] * masses(0.05 - 0.3 * r + 0.8 * g, -3))
    np.testing.assert_allclose(log_likelihood(likelihood, images, output), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["logistic", "logistic_mixture:2"])
def test_draws_are_of_the_distribution_and_their_mean_is_the_mean(name, random):
    likelihood = get_likelihood(name)
    output = random.normal(0, 0.5, (1, 1, 1, likelihood.channels(2)))
    places = slice(2, 4) if name == "logistic" else slice(6, 10)  # log-scales
    output[..., places] -= 1.5
    drawn = likelihood.draw(np.broadcast_to(output, (40_000, 1, 1, output.shape[-1])), random)
    np.testing.assert_allclose(255 * drawn, np.rint(255 * drawn), atol=1e-4)
    pmf = np.exp(log_likelihood(likelihood, pairs(), np.broadcast_to(output, (65536, 1, 1, output.shape[-1]))))
    pmf = pmf.astype("float64").reshape(256, 256)
    for channel in range(2):
        expected = pmf.sum(1 - channel)
        counts = np.bincount(np.rint(255 * drawn[:, 0, 0, channel]).astype(int), minlength=256)
        assert np.abs(np.cumsum(counts) / 40_000 - np.cumsum(expected)).max() < 0.012  # Kolmogorov, at 1e-5
        mean = to_numpy(likelihood.mean(tensor(output.astype("float32"))))[0, 0, 0, channel]
        np.testing.assert_allclose(mean, expected @ LEVELS, atol=0.002 if channel == 0 else 0.02)
    both = pmf / pmf.sum()
    means = LEVELS @ both.sum(1), LEVELS @ both.sum(0)
    covariance = LEVELS @ both @ LEVELS - means[0] * means[1]
    np.testing.assert_allclose(np.cov(drawn[:, 0, 0].T)[0, 1], covariance, atol=3e-3)


def test_levels_and_samples_of_a_model():
    vae = keras_ae.build_vae((8, 8, 3), 2, likelihood="logistic_mixture:2", width=4)
    assert vae.image_shape == (8, 8, 3)
    assert vae.decoder.output_shape == (None, 8, 8, 20)
    assert vae.sample(2, seed=0).shape == vae.reconstruct(np.zeros((2, 8, 8, 3))).shape == (2, 8, 8, 3)
    drawn = vae.sample(2, seed=0, draw_pixels=True)
    np.testing.assert_allclose(255 * drawn, np.rint(255 * drawn), atol=1e-4)
    assert np.abs(drawn - vae.sample(2, seed=0)).max() > 0.1
    with pytest.raises(InputError, match="says too little of pixels to draw them"):
        keras_ae.build_vae((8, 8, 1), 2, width=4).sample(1, draw_pixels=True)
    with pytest.raises(InputError, match="0 components are not possible; give 1 to 100"):
        get_likelihood("logistic_mixture:0")
    with pytest.raises(InputError, match=r"the decoder gives \(None, 8, 8, 3\); for this likelihood \(None, 8, 8, 6\)"):
        keras_ae.VAE(vae.encoder, keras_ae.build_decoder((8, 8, 3), 2, width=4), likelihood="logistic")


def test_a_gaussian_and_a_bernoulli_are_drawn_too(random):
    gaussian = get_likelihood("gaussian")
    gaussian.average.assign(0.04)
    drawn = gaussian.draw(np.full((20_000, 1, 1, 1), 0.3, "float32"), random)
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [0.3, 0.2], atol=6e-3)
    drawn = get_likelihood("bernoulli").draw(np.full((20_000, 1, 1, 1), 1.0, "float32"), random)
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(), 1 / (1 + np.exp(-1)), atol=0.015)
