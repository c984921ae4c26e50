import keras
import numpy as np
import pytest
from scipy import stats

from keras_ae import InputError
from keras_ae.objectives import (
    ELBO,
    LIKELIHOODS,
    ActiveUnits,
    Inference,
    elbo_terms,
    entropy,
    get_likelihood,
    get_objective,
    kl_per_latent,
    psnr,
    reparameterize,
    weighted_mean,
)
from keras_ae.objectives.elbo import bits_per_dimension

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor
SHAPE = (5, 4, 6, 3)


@pytest.fixture
def pixels(random):
    return random.random(SHAPE, dtype="float32"), random.normal(0.4, 0.3, SHAPE).astype("float32")


def test_kl_of_the_prior_is_zero():
    zeros = tensor(np.zeros((3, 2), "float32"))
    np.testing.assert_array_equal(to_numpy(kl_per_latent(zeros, zeros)), 0)


def test_kl_is_the_integral_of_its_definition():
    mean, log_var = 0.7, -1.3
    z = np.linspace(-12, 12, 200_001)
    q = stats.norm(mean, np.exp(log_var / 2))
    expected = np.trapezoid(q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), z)
    found = to_numpy(kl_per_latent(tensor([[mean]]), tensor([[log_var]])))
    np.testing.assert_allclose(found, [[expected]], rtol=1e-5)


def test_squared_error_is_a_gaussian_of_variance_one_half(pixels):
    image, output = pixels
    reconstruction, log_likelihood = get_likelihood("squared_error")(image, output)
    np.testing.assert_allclose(to_numpy(reconstruction), ((image - output) ** 2).sum((1, 2, 3)), rtol=1e-5)
    expected = stats.norm.logpdf(image, output, np.sqrt(0.5)).sum((1, 2, 3))
    np.testing.assert_allclose(to_numpy(log_likelihood), expected, rtol=1e-5)


def test_bernoulli_is_scipys_for_black_and_white_and_finite_for_every_logit(pixels):
    image, output = np.rint(pixels[0]), 5 * pixels[1]
    reconstruction, log_likelihood = get_likelihood("bernoulli")(image, output)
    expected = stats.bernoulli.logpmf(image, 1 / (1 + np.exp(-output.astype("float64")))).sum((1, 2, 3))
    np.testing.assert_allclose(to_numpy(log_likelihood), expected, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(reconstruction), -expected, rtol=1e-5)
    extreme, _ = get_likelihood("bernoulli")(np.ones((1, 1, 1, 2)), np.float32([[[[1e4, -1e4]]]]))
    np.testing.assert_allclose(to_numpy(extreme), [1e4])


def test_learned_gaussian_is_scipys(pixels):
    image, output = pixels
    likelihood = get_likelihood("gaussian_learned")
    likelihood.log_variance.assign(-1.7)
    reconstruction, log_likelihood = likelihood(image, output)
    expected = stats.norm.logpdf(image, output, np.exp(-0.85)).sum((1, 2, 3))
    np.testing.assert_allclose(to_numpy(log_likelihood), expected, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(reconstruction), -expected, rtol=1e-5)


def test_optimal_gaussian_has_the_best_variance_of_the_batch_and_keeps_it(pixels):
    image, output = pixels
    likelihood = get_likelihood("gaussian")
    best = ((image - output) ** 2).mean()
    reconstruction, _ = likelihood(image, output, training=True)
    np.testing.assert_allclose(to_numpy(likelihood.average.value), best, rtol=1e-5)
    at_best = -stats.norm.logpdf(image, output, np.sqrt(best)).sum() / len(image)
    np.testing.assert_allclose(to_numpy(reconstruction).mean(), at_best, rtol=1e-5)
    for other in (0.9 * best, 1.1 * best):
        assert at_best < -stats.norm.logpdf(image, output, np.sqrt(other)).sum() / len(image)
    # In evaluation, and where nothing else is said, the kept variance holds, whatever the batch.
    likelihood(image[:1], output[:1])
    assert to_numpy(likelihood.updates.value) == 1
    alone, _ = likelihood(image[:1], output[:1], training=False)
    np.testing.assert_allclose(to_numpy(alone), to_numpy(reconstruction)[:1], rtol=1e-5)


def test_the_kept_variance_is_the_mean_of_all_batches_and_later_a_running_mean(pixels):
    image, output = pixels
    likelihood = get_likelihood("gaussian")
    measured = [((image[row] - output[row]) ** 2).mean() for row in range(3)]
    for row in range(3):
        likelihood(image[row : row + 1], output[row : row + 1], training=True)
    np.testing.assert_allclose(to_numpy(likelihood.average.value), np.mean(measured), rtol=1e-5)
    assert to_numpy(likelihood.updates.value) == 3
    likelihood.updates.assign(500)
    likelihood(image[:1], output[:1], training=True)
    expected = 0.99 * np.mean(measured) + 0.01 * measured[0]
    np.testing.assert_allclose(to_numpy(likelihood.average.value), expected, rtol=1e-5)
    np.testing.assert_allclose(likelihood.variance, expected, rtol=1e-5)


def test_a_batch_with_small_weights_sets_the_variance_and_one_without_any_does_not(pixels):
    image, output = pixels
    likelihood = get_likelihood("gaussian")
    likelihood(image, output, sample_weight=tensor(np.float32([0, 0.1, 0, 0.2, 0])), training=True)
    errors = ((image - output) ** 2).mean((1, 2, 3))
    expected = (errors[1] + 2 * errors[3]) / 3
    np.testing.assert_allclose(to_numpy(likelihood.average.value), expected, rtol=1e-5)
    reconstruction, _ = likelihood(image, output, sample_weight=tensor(np.zeros(5, "float32")), training=True)
    np.testing.assert_allclose(to_numpy(likelihood.average.value), expected, rtol=1e-5)
    assert to_numpy(likelihood.updates.value) == 1
    at_kept = -stats.norm.logpdf(image, output, np.sqrt(expected)).sum((1, 2, 3))
    np.testing.assert_allclose(to_numpy(reconstruction), at_kept, rtol=1e-4)


def test_the_variance_of_a_perfect_batch_is_not_0(pixels):
    image, _ = pixels
    reconstruction, _ = get_likelihood("gaussian")(image, image, training=True)
    np.testing.assert_allclose(to_numpy(reconstruction), -stats.norm.logpdf(0, 0, 1e-4) * 72, rtol=1e-5)


def test_a_weighted_mean_is_that_of_numpy_and_0_without_any_weight(random):
    values = random.normal(size=(4, 3, 2)).astype("float32")
    for weight in ([1, 0, 2, 5], [0.1, 0.0, 0.2, 0.0]):
        expected = np.average(values, axis=0, weights=weight)
        np.testing.assert_allclose(
            to_numpy(weighted_mean(tensor(values), tensor(np.float32(weight)))), expected, rtol=1e-5
        )
    np.testing.assert_array_equal(to_numpy(weighted_mean(tensor(values), tensor(np.zeros(4, "float32")))), 0)
    np.testing.assert_allclose(to_numpy(weighted_mean(tensor(values))), values.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "output_bias", "is_density", "variance", "estimate_variance"),
    [
        ("squared_error", 0.5, True, 0.5, True),
        ("bernoulli", 0.0, False, None, False),
        ("gaussian", 0.5, True, 1.0, False),
        ("gaussian_learned", 0.5, True, 1.0, False),
    ],
)
def test_what_likelihoods_say_of_themselves(name, output_bias, is_density, variance, estimate_variance):
    likelihood = get_likelihood(name)
    said = (likelihood.output_bias, likelihood.is_density, likelihood.variance, likelihood.estimate_variance)
    assert said == (output_bias, is_density, variance, estimate_variance)
    assert get_likelihood(likelihood) is likelihood
    assert likelihood.built
    weights = [weight.path.split("/")[-1] for weight in likelihood.trainable_variables]
    assert weights == (["log_variance"] if name == "gaussian_learned" else [])
    expected = 1 / (1 + np.exp(-2.0)) if name == "bernoulli" else 2.0
    np.testing.assert_allclose(to_numpy(likelihood.mean(tensor([2.0]))), [expected], rtol=1e-6)


def test_an_elbo_weighs_its_kl_once_where_nothing_is_said():
    elbo = ELBO()
    assert (elbo.beta, elbo.free_bits, elbo.kl_warmup_steps) == (1, 0, 0)


def test_elbo_is_log_likelihood_minus_kl_whatever_beta_and_free_bits(random):
    reconstruction, log_likelihood = random.random(4, "float32"), random.random(4, "float32")
    kl = random.random((4, 3), "float32")
    tensors = [tensor(values) for values in (reconstruction, log_likelihood, kl)]
    terms = elbo_terms(*tensors, beta=3.0, free_bits=0.4)
    np.testing.assert_allclose(to_numpy(terms["kl"]), kl.sum(1), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(terms["elbo"]), log_likelihood - kl.sum(1), rtol=1e-5)
    plain = elbo_terms(*tensors, beta=3.0)
    np.testing.assert_allclose(to_numpy(plain["loss"]), reconstruction + 3 * kl.sum(1), rtol=1e-5)


@pytest.mark.parametrize("free_bits", [0.5, 1.0])
@pytest.mark.parametrize("weight", [None, np.float32([1, 0, 2, 5])])
def test_free_bits_clamp_the_batch_mean_of_each_latent(random, weight, free_bits):
    kl = (random.random((4, 3)) * [0.1, 1.0, 3.0]).astype("float32")
    expected = np.maximum(np.average(kl, axis=0, weights=weight), free_bits).sum()
    weight = None if weight is None else tensor(weight)
    zeros = tensor(np.zeros(4, "float32"))
    terms = elbo_terms(zeros, zeros, tensor(kl), free_bits=free_bits, sample_weight=weight)
    np.testing.assert_allclose(to_numpy(weighted_mean(terms["loss"], weight)), expected, rtol=1e-5)


def test_a_kl_that_is_not_a_number_reaches_the_loss():
    """No comparison with it is true. The guard must see it all the same."""
    zeros, kl = tensor(np.zeros(2, "float32")), tensor(np.float32([[np.nan], [1.0]]))
    assert np.isnan(to_numpy(elbo_terms(zeros, zeros, kl)["loss"])[0])


def test_active_units_counts_latents_whose_mean_varies_over_all_batches(random):
    spread = np.float32([1.0, 0.05, 0.2])  # variances 1, 0.0025 and 0.04
    z_mean = random.normal(2.0, 1.0, (1000, 3)).astype("float32") * spread
    metric = ActiveUnits(3)
    for part in np.split(z_mean, [300, 301, 900]):
        metric.update_state(part)
    assert int(metric.result()) == (z_mean.var(0) > 0.01).sum() == 2


def test_psnr_of_a_hundredth_is_twenty_decibels():
    np.testing.assert_allclose(to_numpy(psnr(np.float32([0.01, 1.0]))), [20, 0], atol=1e-4)


def test_an_unknown_likelihood_names_the_known_ones():
    with pytest.raises(InputError, match=", ".join(LIKELIHOODS)):
        get_likelihood("poisson")


def test_draws_have_the_posterior_s_mean_and_standard_deviation():
    noise = np.random.default_rng(0).normal(size=(100_000, 2)).astype("float32")
    z_mean, z_log_var = np.float32([[0.5, -2.0]]), np.log(np.float32([[0.25, 9.0]]))
    z = to_numpy(reparameterize(tensor(z_mean), tensor(z_log_var), tensor(noise)))
    np.testing.assert_allclose(z.mean(0), z_mean[0], atol=0.03)
    np.testing.assert_allclose(z.std(0), [0.5, 3.0], rtol=0.01)
    np.testing.assert_allclose(z, z_mean + [0.5, 3.0] * noise, rtol=1e-4, atol=1e-5)


def test_the_kl_is_never_below_0():
    random = np.random.default_rng(0)
    z_mean = random.normal(0, 1, (2000, 8)) * 10.0 ** random.uniform(-12, 1, (2000, 8))
    z_log_var = random.normal(0, 1, (2000, 8)) * 10.0 ** random.uniform(-12, 0.5, (2000, 8))
    kl = to_numpy(kl_per_latent(*(keras.ops.convert_to_tensor(x.astype("float32")) for x in (z_mean, z_log_var))))
    assert kl.min() >= 0
    exact = 0.5 * (z_mean**2 + np.expm1(z_log_var) - z_log_var)
    np.testing.assert_allclose(kl, exact, rtol=1e-5, atol=1e-7)


def test_active_units_count_weighted_images_and_come_back_from_their_config():
    z_mean = np.array([[0, 0], [0.3, 0.05], [9, 9]], "float32")
    metric = ActiveUnits.from_config(ActiveUnits(2, threshold=0.02).get_config())
    assert metric.threshold == 0.02
    metric.update_state(z_mean, sample_weight=np.float32([1, 1, 0]))  # variances 0.0225 and 0.000625
    assert to_numpy(metric.result()) == 1
    metric.reset_state()
    metric.update_state(z_mean, sample_weight=np.float32([0.1, 0.1, 0]))
    assert to_numpy(metric.result()) == 1


def test_a_latent_that_never_moves_is_not_active():
    metric = ActiveUnits(1, threshold=0.0)
    metric.update_state(np.full((4, 1), 0.5, "float32"))
    assert to_numpy(metric.result()) == 0


def test_draws_of_an_image_are_averaged_and_there_is_one_unless_said():
    values = tensor(np.float32([1, 3, 5, 9]))
    for k, expected in ((1, [1, 3, 5, 9]), (2, [2, 7]), (4, [4.5])):
        inference = Inference(None, None, None, k)
        np.testing.assert_allclose(to_numpy(inference.mean_over_draws(values)), expected)
    assert Inference(None, None, None).k == 1


def test_an_elbo_is_plain_unless_said():
    config = get_objective("elbo").get_config()
    assert {name: config[name] for name in ("beta", "kl_warmup_steps", "free_bits", "regularizers")} == {
        "beta": 1.0,
        "kl_warmup_steps": 0,
        "free_bits": 0.0,
        "regularizers": [],
    }


def test_an_entropy_is_scipys():
    log_var = np.float32([-2.0, 0.0, 3.0])
    found = to_numpy(entropy(keras.ops.convert_to_tensor(log_var)))
    np.testing.assert_allclose(found, stats.norm(scale=np.exp(log_var / 2)).entropy(), rtol=1e-5)


def test_bits_per_dimension_are_those_of_256_levels(pixels):
    image, output = pixels[0][:1], pixels[1][:1]
    _, log_likelihood = get_likelihood("squared_error")(image, output)
    # The density of a level is that of [0, 1] over 256.
    bits = -np.log2(stats.norm.pdf(image, output, np.sqrt(0.5)) / 256).mean()
    assert bits_per_dimension(float(to_numpy(log_likelihood)[0]), SHAPE[1:]) == pytest.approx(bits, rel=1e-5)
