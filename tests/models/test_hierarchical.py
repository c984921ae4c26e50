"""Hierarchies: their bound against a linear one of which everything has a closed form, and what their levels do."""

import keras
import numpy as np
import pytest
from scipy import stats

import keras_ae
from keras_ae import HierarchicalVAE, InputError, build_vae, codes
from keras_ae.data import Split
from keras_ae.models.completion import _Chains
from keras_ae.models.levels import MOST_LOG_VAR, Level
from keras_ae.objectives import IWAE
from tests.family import MEMBERS, SHAPE, member
from tests.helpers import batch, once

to_numpy = keras.ops.convert_to_numpy
PIXELS, VARIANCE = 30, 0.5  # of a pixel, as in the squared error
A, OFFSET, SPREAD = 0.6, 0.3, 0.4  # z_2 ~ N(A z_1 + OFFSET, SPREAD)


def dense(units, kernel, bias):
    layer = keras.layers.Dense(units)
    layer.build((None, np.shape(kernel)[0]))
    layer.set_weights([np.float32(kernel), np.float32(bias)])
    return layer


def bounded(variance) -> float:
    """What a network gives for that log-variance."""
    return MOST_LOG_VAR * np.arctanh(np.log(variance) / MOST_LOG_VAR)


def columns() -> np.ndarray:
    """Of z_1 and z_2, (2, PIXELS)."""
    return np.random.default_rng(0).normal(0, 0.4, (2, PIXELS))


def joint() -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (z_1, z_2)."""
    return np.array([0, OFFSET]), np.array([[1, A], [A, A**2 + SPREAD]])


def posterior() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of (z_1, z_2): the gain (2, PIXELS) and shift (2,) of its mean, and its covariance."""
    mean, covariance = joint()
    precision = np.linalg.inv(covariance) + columns() @ columns().T / VARIANCE
    found = np.linalg.inv(precision)
    return found @ columns() / VARIANCE, found @ np.linalg.inv(covariance) @ mean, found


def linear(shift=0.0, **kwargs) -> HierarchicalVAE:
    """x ~ N(W z, 1/2) of two levels of one latent, with the exact posterior; or one with its means shifted."""
    gain, offset, covariance = posterior()
    slope = covariance[0, 1] / covariance[0, 0]
    image, z = keras.Input(SHAPE), keras.Input((1,))
    flat = keras.layers.Flatten()(image)
    top = (
        dense(1, gain[:1].T, offset[:1] + shift)(flat),
        dense(1, np.zeros((PIXELS, 1)), [bounded(covariance[0, 0])])(flat),
    )
    # What z_2 has of the image: its mean, without what z_1 says of it.
    seen = dense(1, (gain[1:] - slope * gain[:1]).T, offset[1:] - slope * offset[:1] + shift)(flat)
    encoder = keras.Model(image, [*top, seen])
    above, other, second = keras.Input((1,)), keras.Input((1,)), keras.Input((1,))
    rest = covariance[1, 1] - slope * covariance[0, 1]
    both = keras.layers.Concatenate()([above, other])
    levels = [
        Level(keras.Model(z, keras.layers.Identity()(z))),
        Level(
            keras.Model([above, second], keras.layers.Concatenate()([above, second])),
            keras.Model(above, [dense(1, [[A]], [OFFSET])(above), dense(1, [[0]], [bounded(SPREAD)])(above)]),
            keras.Model(
                [above, other], [dense(1, [[slope], [1]], [0])(both), dense(1, [[0], [0]], [bounded(rest)])(both)]
            ),
        ),
    ]
    features = keras.Input((2,))
    head = keras.Model(features, keras.layers.Reshape(SHAPE)(dense(PIXELS, columns(), np.zeros(PIXELS))(features)))
    return HierarchicalVAE(encoder, levels, head, **kwargs)


def log_density(images) -> np.ndarray:
    mean, covariance = joint()
    covariance = columns().T @ covariance @ columns() + VARIANCE * np.eye(PIXELS)
    return stats.multivariate_normal(mean @ columns(), covariance).logpdf(images.reshape(len(images), -1)).reshape(-1)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("prior", ["standard", "mixture:1"])
def test_every_bound_is_the_likelihood_where_the_posterior_is_exact(prior, k):
    vae, images = linear(prior=prior, objective=IWAE(k, dreg=False)), batch(5, SHAPE)["image"]
    if prior == "mixture:1":  # as the standard normal
        vae.prior.means.assign([[0]])
    np.testing.assert_allclose(to_numpy(vae.loss_terms(images).vectors["iwae"]), log_density(images), atol=2e-3)
    np.testing.assert_allclose(vae.log_likelihood(images, draws=3), log_density(images), atol=2e-3)


def test_the_elbo_is_the_likelihood_less_what_the_posterior_is_wrong():
    """KL(q || p(z | x)) of a posterior whose means are shifted, of z_1 and of z_2 given z_1."""
    images = np.repeat(batch(1, SHAPE)["image"], 4000, axis=0)
    vectors = {name: to_numpy(values) for name, values in linear(shift=0.2).loss_terms(images).vectors.items()}
    covariance = posterior()[2]
    rest = covariance[1, 1] - covariance[0, 1] ** 2 / covariance[0, 0]
    wrong = 0.2**2 / 2 * (1 / covariance[0, 0] + 1 / rest)
    expected = log_density(images[:1])[0] - wrong
    assert wrong > 0.2
    np.testing.assert_allclose(vectors["elbo"].mean(), expected, atol=4 * vectors["elbo"].std() / 4000**0.5)
    np.testing.assert_allclose(vectors["kl"], vectors["kl_1"] + vectors["kl_2"], rtol=1e-5)


def test_the_kl_of_each_level_is_that_of_its_gaussians(random):
    vae, images = linear(), batch(3, SHAPE)["image"]
    noise = random.standard_normal((3, 2)).astype("float32")
    z, (mean, log_var), _ = vae.propose(images, None, noise, np.zeros((3, 2)))
    np.testing.assert_allclose(z, mean + np.exp(log_var / 2) * noise, atol=1e-5)
    tensors = map(keras.ops.convert_to_tensor, (images, noise))
    image, draws = tensors
    inference, *_ = vae.infer(image, None, image, noise=draws)
    for level, (centre, spread) in enumerate([(0, 1), (A * z[:, 0] + OFFSET, SPREAD)]):
        variance = np.exp(log_var[:, level])
        expected = 0.5 * (variance / spread + (mean[:, level] - centre) ** 2 / spread - 1 - np.log(variance / spread))
        np.testing.assert_allclose(to_numpy(inference.draw.kl)[:, level], expected, atol=1e-4)
    log_p = stats.norm.logpdf(z[:, 0]) + stats.norm.logpdf(z[:, 1], A * z[:, 0] + OFFSET, SPREAD**0.5)
    np.testing.assert_allclose(to_numpy(vae.log_prior(keras.ops.convert_to_tensor(z))), log_p, atol=1e-4)
    assert vae.levels[1].shape == (1,)


def test_chains_know_the_posterior_of_latents_that_it_did_not_draw(random):
    vae, images = linear(), batch(3, SHAPE)["image"]
    current, noise = (random.standard_normal((3, 2)).astype("float32") for _ in range(2))
    _, _, (mean, log_var) = vae.propose(images, None, noise, current)
    gain, offset, covariance = posterior()
    exact = images.reshape(3, -1) @ gain.T + offset
    slope = covariance[0, 1] / covariance[0, 0]
    np.testing.assert_allclose(mean[:, 0], exact[:, 0], atol=1e-5)
    np.testing.assert_allclose(mean[:, 1], exact[:, 1] + slope * (current[:, 0] - exact[:, 0]), atol=1e-5)
    np.testing.assert_allclose(np.exp(log_var[0, 0]), covariance[0, 0], rtol=1e-4)


@once("chains are NumPy's")
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_completions_have_the_exact_conditional(shift):
    known = np.ones(SHAPE[:2])
    known[1, 2] = known[4, 3] = 0
    image = np.random.default_rng(0).normal(0.5, 0.1, (1, *SHAPE)).astype("float32")
    mean, covariance = joint()
    pixels, here = columns().T @ covariance @ columns() + VARIANCE * np.eye(PIXELS), known.reshape(-1) > 0
    gain = pixels[~here][:, here] @ np.linalg.inv(pixels[here][:, here])
    centre = mean @ columns()
    expected = centre[~here] + gain @ (image.reshape(-1)[here] - centre[here])
    vae = linear(shift)
    mask = np.repeat(known[None, ..., None] > 0, 2000, axis=0)
    chains = _Chains(vae, np.repeat(image, 2000, axis=0), mask, None, VARIANCE, np.random.default_rng(2))
    for step in range(100):
        chains.step(correct=True, warm_up=step < 20)
    missing = chains.mean.reshape(2000, -1)[:, ~here]
    assert (np.abs(missing.mean(0) - expected) < 5 * missing.std(0) / 2000**0.5).all()
    variances = np.diag(pixels[~here][:, ~here] - gain @ pixels[here][:, ~here]) - VARIANCE  # of the mean of a pixel
    np.testing.assert_allclose(missing.var(0), variances, rtol=0.15)


def test_free_bits_are_of_the_latents_of_each_level():
    vae = build_vae(SHAPE, [(2, 2, 3), (3, 3, 2)], network="hierarchical", width=4, free_bits=0.5)
    vae.compile("sgd")
    vectors = vae.loss_terms(batch(4, SHAPE)["image"], training=True).vectors
    np.testing.assert_allclose(to_numpy(vectors["loss"] - vectors["reconstruction"]), 0.5 * (12 + 18), rtol=1e-4)


def test_latents_that_follow_the_prior_are_not_active():
    """Though the mean of a lower level varies with what was drawn above."""
    images = batch(200, SHAPE)["image"]
    collapsed = build_vae(SHAPE, [(2, 2, 3), (3, 3, 2)], network="hierarchical", width=4)
    assert collapsed.evaluate(images, verbose=0, return_dict=True)["active_units"] == 0
    assert linear().evaluate(images, verbose=0, return_dict=True)["active_units"] == 2


def test_codes_are_draws_from_the_posterior():
    """Of z_2 given the z_1 that was drawn, not given its mean."""
    arrays = {"images": np.full((3000, *SHAPE), 128, "uint8"), "labels": np.zeros(3000, "int32")}
    drawn = codes._codes(linear(), Split(arrays, np.arange(3000)), slice(0, 3000), "samples", 0)
    np.testing.assert_allclose(np.cov(drawn.T), posterior()[2], atol=0.03)
    assert abs(posterior()[2][0, 1]) > 0.05


def test_samples_have_the_moments_of_the_prior_and_a_temperature_for_each_level():
    vae, random = linear(), np.random.default_rng(0)
    z = vae.draw_codes(20_000, random, 1.0, None)
    mean, covariance = joint()
    np.testing.assert_allclose(z.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.03)
    z = vae.draw_codes(20_000, random, [0.5, 2.0], None)
    np.testing.assert_allclose(z[:, 0].std(), 0.5, rtol=0.03)
    np.testing.assert_allclose((z[:, 1] - A * z[:, 0]).std(), 2 * SPREAD**0.5, rtol=0.03)
    np.testing.assert_array_equal(vae.sample(3, seed=1), vae.sample(3, seed=1))


def test_variations_keep_the_upper_levels():
    vae, images = linear(), batch(2, SHAPE)["image"]
    z = np.repeat(vae.code(images), 5000, axis=0)
    varied = vae._below(z, 1, None, np.random.default_rng(0))[0]
    np.testing.assert_array_equal(varied[:, 0], z[:, 0])
    np.testing.assert_allclose(varied[:5000, 1].mean(), A * z[0, 0] + OFFSET, atol=0.03)
    np.testing.assert_allclose(varied[:5000, 1].std(), SPREAD**0.5, rtol=0.05)
    np.testing.assert_allclose(vae._below(vae.code(images), 2, None)[0], vae.code(images), atol=1e-5)
    assert vae.variations(images, 3, seed=0).std(1).max() > 0.01


def test_a_traversal_spans_the_prior_given_the_levels_above():
    vae, images = linear(), np.full((2, *SHAPE), 0.5, "float32")
    first, _ = vae.code(images[:1])[0]
    for level, path in (
        (1, [[z, A * z + OFFSET] for z in (-2, 0, 2)]),
        (2, [[first, A * first + OFFSET + step * SPREAD**0.5] for step in (-2, 0, 2)]),
    ):
        latents, moved = vae.traverse(images, steps=3, span=2, level=level)
        assert list(latents) == [0]
        np.testing.assert_allclose(moved[0], vae.decode(np.float32(path)), atol=1e-5)


def test_the_parts_of_a_hierarchy_start_alike():
    """So that no level costs anything before training."""
    vae = build_vae(SHAPE, [(2, 2, 2), (3, 3, 1)], network="hierarchical", width=4)
    vectors = vae.loss_terms(batch(3, SHAPE)["image"]).vectors
    np.testing.assert_allclose(to_numpy(vectors["kl"]), 0, atol=1e-5)
    assert vae.size == "2 levels of 2x2x2, 3x3x1 latents"
    assert vae.decoder.output_shape == (None, *SHAPE)


def test_networks_of_levels_have_the_sizes_that_they_are_given():
    vae = build_vae((16, 12, 3), [(2, 2, 2), (4, 3, 1), (16, 12, 1)], network="hierarchical", width=8)
    assert vae.shapes == [(2, 2, 2), (4, 3, 1), (16, 12, 1)]
    assert [level.merge.output_shape[1:] for level in vae.levels] == [(4, 3, 16), (16, 12, 16), (16, 12, 16)]
    assert [output.shape[1:] for output in vae.encoder.outputs] == [(2, 2, 2)] * 2 + [(4, 3, 16), (16, 12, 16)]
    vae = build_vae((28, 28, 1), [(40,), (40,)], network="hierarchical", likelihood="bernoulli")
    assert vae.shapes == [(40,), (40,)]
    assert vae.levels[0].merge.output_shape == (None, 300)


def test_labels_of_every_part(random):
    vae = member(**{**MEMBERS["hierarchy"], "conditioning": "both"})
    images = batch(4, SHAPE)["image"]
    one, other = (vae.encode(images, labels=label)[0] for label in "ab")
    assert np.abs(one - other).max() > 1e-6
    z = random.standard_normal((4, vae.latent_dim)).astype("float32")
    one, other = (vae.decoder.predict([z, np.full(4, label)], verbose=0) for label in range(2))
    assert np.abs(one - other).max() > 1e-6
    assert vae.variations(images, 2, labels="a", seed=0).shape == (4, 2, *SHAPE)


@once("messages are the same everywhere")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": [(2, 2, 1)]}, "1 level is no hierarchy; give two or more, as 4x4x16,8x8x8"),
        ({"latent_dim": [(2, 2, 1), (4,)]}, "levels are all vectors, as 40,40, or all places"),
        ({"latent_dim": [(3, 3, 1), (2, 2, 1)]}, "fewer places than the one above it; begin with the coarsest"),
        ({"latent_dim": [(2, 2, 1), (4, 4, 1)]}, "4x4 places is not possible; give 6x5, 3x3, 2x2, 1x1"),
        ({"latent_dim": 4}, "the network hierarchical cannot have the latents 4; levels are"),
        ({"network": "conv"}, "the network conv cannot have the latents"),
        ({"latent": "vq:4"}, "the levels of a hierarchy are gaussian"),
        ({"objective": IWAE(3)}, r"take IWAE\(k, dreg=False\)"),
        ({"regularizers": ["tc:2"]}, "a regularizer is of one level of latents"),
        ({"prior": "uniform"}, "the prior uniform is not for the latent gaussian"),
    ],
)
def test_what_is_of_one_level_is_refused(settings, message):
    settings = {"network": "hierarchical", "latent_dim": [(2, 2, 1), (3, 3, 1)], "width": 4} | settings
    with pytest.raises(InputError, match=message):
        build_vae(SHAPE, **settings)


@once("messages are the same everywhere")
def test_levels_that_are_not_there_are_refused():
    vae, images = linear(), batch(2, SHAPE)["image"]
    for call, message in (
        (lambda: vae.variations(images, level=3), r"there is no level 3; this model has 1 \(the top\) to 2"),
        (lambda: vae.variations(images, level=1.5), "there is no level 1.5"),
        (lambda: vae.variations(images, level=2), "below level 2 there is none to draw; give 1 to 1"),
        (lambda: vae.variations(images, 0), "0 variations are not possible"),
        (lambda: vae.traverse(images, level=0), "there is no level 0"),
        (lambda: vae.sample(2, temperature=[1, 1, 1]), "3 temperatures for 2 levels"),
        (lambda: vae.sample(2, temperature=[1, -1]), "temperature -1 is not 0 or more"),
        (lambda: member(prior="standard").sample(2, temperature=[1, 1]), "2 temperatures for one level of latents"),
        (lambda: keras_ae.with_prior(vae, vae.prior), "a prior is fitted to codes of one level; this model has 2"),
    ):
        with pytest.raises(InputError, match=message):
            call()


@once("messages are the same everywhere")
def test_networks_that_do_not_fit_are_refused():
    vae = linear()
    (top, second), head = vae.levels, vae.head
    for encoder, levels, message in (
        (vae.encoder, [top], "1 level is no hierarchy"),
        (keras.Model(vae.encoder.inputs, vae.encoder.outputs[:2]), [top, second], "gives 2 outputs; for 2 levels"),
        (vae.encoder, [top, Level(second.merge)], "level 2 needs a merge, a prior and a posterior"),
        (vae.encoder, [top, second._replace(prior=head)], "the prior of level 2 gives"),
    ):
        with pytest.raises(InputError, match=message):
            HierarchicalVAE(encoder, levels, head)


def test_weights_of_all_networks_have_their_own_paths():
    """On torch two of one path are one parameter, for its exports."""
    for levels in ([(2, 2, 2), (3, 3, 1), (3, 3, 1)], [(3,), (2,), (2,)]):
        vae = build_vae(SHAPE, levels, network="hierarchical", width=4)
        assert len({weight.path for weight in vae.trainable_variables}) == len(vae.trainable_variables)


def test_bounds_of_several_draws_by_name():
    vae = build_vae(SHAPE, [(3,), (2,)], network="hierarchical", width=4, objective="iwae:3")
    assert (vae.objective.k, vae.objective.through_z) == (3, False)
