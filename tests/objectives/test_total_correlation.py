"""The total correlation, against exact sums over a small set of images."""

import keras
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from keras_ae import InputError
from keras_ae.objectives import ELBO, Draw, Inference, TotalCorrelation, kl_per_latent
from keras_ae.objectives.total_correlation import stratified_log_weights

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor


def posteriors(images=200, latents=4):
    """Means that depend on each other, and log-variances."""
    random = np.random.default_rng(0)
    common = random.normal(size=(images, 1))
    return 1.5 * common + 0.5 * random.normal(size=(images, latents)), random.normal(-2, 0.3, (images, latents))


def log_q(z, mean, log_var):
    return -0.5 * ((z[:, None] - mean) ** 2 / np.exp(log_var) + log_var + np.log(2 * np.pi))


def exact(z, mean, log_var) -> np.ndarray:
    """log q(z) - sum_j log q(z_j), with q(z) the mean of all posteriors: (n,)."""
    pairs = log_q(z, mean, log_var)
    return logsumexp(pairs.sum(2), 1) - np.log(len(mean)) - (logsumexp(pairs, 1) - np.log(len(mean))).sum(1)


def estimate(z, mean, log_var, images: int) -> np.ndarray:
    draw = Draw(*(tensor(x.astype("float32")) for x in (z, mean, log_var)), None, None, None)
    return to_numpy(TotalCorrelation(6, images=images).terms(Inference(draw, None, None), None))


def test_the_weights_are_those_of_the_paper_on_the_diagonal():
    for batch, images in ((2, 5), (4, 4), (5, 1000)):
        weights = np.exp(to_numpy(stratified_log_weights(batch, images)).astype("float64"))
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(np.diag(weights), 1 / images, rtol=1e-5)
        others = batch - 1
        expected = np.full((batch, batch), 1 / others)
        np.fill_diagonal(expected, 1 / images)
        expected[np.arange(batch), (np.arange(batch) + 1) % batch] = (images - others) / (images * others)
        np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_it_is_near_the_exact_sum_over_the_set():
    mean, log_var = posteriors()
    random, exacts, estimates = np.random.default_rng(1), [], []
    for _ in range(40):
        rows = random.choice(len(mean), 100, replace=False)
        z = mean[rows] + np.exp(log_var[rows] / 2) * random.normal(size=(100, mean.shape[1]))
        exacts.append(exact(z, mean, log_var).mean())
        estimates.append(estimate(z, mean[rows], log_var[rows], len(mean)).mean())
    assert np.mean(exacts) > 2
    np.testing.assert_allclose(np.mean(estimates), np.mean(exacts), atol=0.15)


def test_the_three_parts_of_the_kl_sum_to_it():
    """Mutual information, total correlation and the KL of each latent (Chen et al. 2018, equation 2), for a prior that
    is far from the codes."""
    mean, log_var = posteriors()
    kl = to_numpy(kl_per_latent(tensor(mean.astype("float32")), tensor(log_var.astype("float32")))).sum(1).mean()
    random, information, correlation, latents = np.random.default_rng(1), [], [], []
    for _ in range(40):
        rows = random.choice(len(mean), 100, replace=False)
        z = mean[rows] + np.exp(log_var[rows] / 2) * random.normal(size=(100, mean.shape[1]))
        pairs = log_q(z, mean, log_var)
        own = pairs[np.arange(100), rows].sum(1)
        information.append(np.mean(own - logsumexp(pairs.sum(2), 1) + np.log(len(mean))))
        correlation.append(estimate(z, mean[rows], log_var[rows], len(mean)).mean())
        each = logsumexp(pairs, 1) - np.log(len(mean))
        latents.append(np.mean((each - stats.norm.logpdf(z)).sum(1)))
    parts = [np.mean(part) for part in (information, correlation, latents)]
    assert min(parts) > 1
    np.testing.assert_allclose(sum(parts), kl, atol=0.2)


def test_it_is_numpys_for_a_batch():
    mean, log_var = (x[:5] for x in posteriors())
    z = mean + 0.1
    weights = to_numpy(stratified_log_weights(5, 50)).astype("float64")
    pairs = log_q(z, mean, log_var)
    expected = logsumexp(pairs.sum(2) + weights, 1) - logsumexp(pairs + weights[:, :, None], 1).sum(1)
    np.testing.assert_allclose(estimate(z, mean, log_var, 50), expected, rtol=1e-4, atol=1e-4)


def test_a_batch_that_is_no_sample_of_the_images_is_refused():
    mean, log_var = posteriors(4)
    for rows, images in ((1, 50), (4, 3)):
        with pytest.raises(InputError, match=f"of a batch of {rows} among {images} images is not known"):
            estimate(mean[:rows], mean[:rows], log_var[:rows], images)


@pytest.mark.parametrize("weight", [0.0, 1.0, 6.0])
def test_the_loss_has_its_weight_less_the_one_that_the_kl_brings(weight):
    mean, log_var = (tensor(x.astype("float32")) for x in posteriors(20, 3))
    z, zeros = mean + 0.1, keras.ops.zeros(20)
    inference = Inference(Draw(z, mean, log_var, kl_per_latent(mean, log_var), zeros, zeros), zeros + 3, zeros - 3)
    objective = ELBO(regularizers=[TotalCorrelation(weight, images=100)])
    terms = objective.terms(inference, step=0, sample_weight=None, training=True)
    terms = {name: to_numpy(values).mean() for name, values in terms.items()}
    np.testing.assert_allclose(terms["loss"], 3 + terms["kl"] + (weight - 1) * terms["tc"], rtol=1e-5)
    assert abs(terms["tc"]) > 0.1
