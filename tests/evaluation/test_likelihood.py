"""The log-likelihood by importance sampling."""

import math

import keras
import numpy as np
import pytest
from scipy import stats

import keras_ae
from keras_ae import InputError
from keras_ae.evaluation import likelihood
from keras_ae.evaluation.likelihood import log_likelihoods
from tests.family import MEMBERS, SHAPE, linear, log_density, member
from tests.helpers import batch, dtype_policy

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor


def test_it_is_exact_where_the_posterior_is():
    vae, images = linear(), batch(6, SHAPE)["image"]
    for draws in (1, 3):
        np.testing.assert_allclose(vae.log_likelihood(images, draws=draws), log_density(vae, images), atol=1e-3)


def test_it_grows_to_the_exact_value():
    vae, images = linear(exact=False), batch(6, SHAPE)["image"]
    few, many = (vae.log_likelihood(images, draws=draws) for draws in (1, 5000))
    np.testing.assert_allclose(many, log_density(vae, images), atol=0.05)
    assert few.mean() < many.mean() - 0.1


@pytest.mark.parametrize("name", sorted(MEMBERS.keys() - {"fsq", "vq", "deterministic"}))
def test_it_is_numpys_for_every_member(name, monkeypatch):
    vae, data, draws, seed = member(**MEMBERS[name]), batch(image_shape=SHAPE), 5, 3
    images = data["image"]
    labels = None if vae.conditioning == "none" else data["label"]
    shape = draws, *vae.latent_shape
    noise = [np.random.default_rng([seed, place]).standard_normal(shape, "f") for place in range(6)]
    weights = []
    for number in range(draws):
        own = np.stack([each[number] for each in noise])
        z, (mean, log_var), _ = vae.propose(images, labels, own, own)
        np.testing.assert_allclose(z, mean + np.exp(log_var / 2) * own, rtol=1e-4, atol=1e-5)
        log_q = stats.norm.logpdf(z, mean, np.exp(log_var / 2)).reshape(6, -1).sum(1)
        log_p = to_numpy(vae.log_prior(tensor(z), None if labels is None else tensor(labels)))
        output = vae.decoder.predict(vae.decoder_inputs(z, labels), verbose=0)
        weights.append(to_numpy(vae.likelihood(tensor(images), tensor(output))[1]) + log_p - log_q)
    expected = np.log(np.exp(np.array(weights) - np.max(weights, 0)).mean(0)) + np.max(weights, 0)
    for rows in (5000, 7, 2):  # draws of a call: several images, one, or a part of one
        monkeypatch.setattr(likelihood, "MOST_ROWS", rows)
        values = vae.log_likelihood(images, labels, draws=draws, seed=seed)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-3)
    assert values.dtype == np.float64


def test_half_precision_of_other_models_changes_nothing():
    vae, images = member(**MEMBERS["residual flow"], conditioning="none"), batch(3, SHAPE)["image"]
    known = np.ones((3, *SHAPE[:2]))
    known[:, :2] = 0
    expected = vae.log_likelihood(images, draws=5), vae.complete(images, known, steps=3, seed=0)
    with dtype_policy("mixed_bfloat16"):
        found = vae.log_likelihood(images, draws=5), vae.complete(images, known, steps=3, seed=0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_memory_bounds_the_draws_of_a_call(monkeypatch):
    sizes, made = [], likelihood.LogWeights

    def noted(vae, draws):
        sizes.append(draws)
        return made(vae, draws)

    monkeypatch.setattr(likelihood, "LogWeights", noted)
    vae, images = linear(), batch(2, SHAPE)["image"]
    vae.log_likelihood(images, draws=12)
    numbers = likelihood.numbers_per_image(vae)
    monkeypatch.setattr(likelihood, "MEMORY", 4 * numbers * 5)
    vae.log_likelihood(images, draws=12)
    assert sorted(sizes) == [2, 5, 12]


def test_a_stopped_call_continues(tmp_path, monkeypatch):
    monkeypatch.setattr(likelihood, "MOST_ROWS", 4)
    vae, images = linear(exact=False), batch(6, SHAPE)["image"]
    asked = []

    def split(stop=math.inf):
        def take(places):
            asked.append(places.start)
            if len(asked) > stop:
                raise KeyboardInterrupt
            return {"image": images[places]}

        return take

    whole = log_likelihoods(vae, split(), 6, 4, kept=tmp_path)
    assert asked == [0, 0, 1, 2, 3, 4, 5]  # the first is looked at to know the call again
    assert not list(tmp_path.iterdir())
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        log_likelihoods(vae, split(stop=4), 6, 4, kept=tmp_path)
    (file,) = tmp_path.iterdir()
    asked.clear()
    other = log_likelihoods(vae, split(), 6, 4, seed=1, kept=tmp_path)
    assert asked == [0, 0, 1, 2, 3, 4, 5]
    assert not np.allclose(other, whole)
    content = file.read_bytes()
    for damaged in (content, content[:-5], b"{}", b""):
        file.write_bytes(damaged)
        asked.clear()
        np.testing.assert_array_equal(log_likelihoods(vae, split(), 6, 4, kept=tmp_path), whole)
        assert asked == ([0, 3, 4, 5] if damaged is content else [0, 0, 1, 2, 3, 4, 5])


def test_an_evaluation_gives_mean_and_standard_error(dataset):
    vae = keras_ae.build_vae(dataset.image_shape, 2, network="mlp", width=4, likelihood="gaussian")
    results = keras_ae.evaluate(vae, dataset, draws=20)
    values = vae.log_likelihood(dataset.test.batch(slice(None))["image"], draws=20)
    np.testing.assert_allclose(results["log_likelihood"], values.mean(), rtol=1e-6)
    np.testing.assert_allclose(results["standard_error"], values.std() / math.sqrt(len(values)), rtol=1e-6)
    assert results["draws"] == 20
    assert "log_likelihood" not in keras_ae.evaluate(vae, dataset)


def test_bad_input_is_one_line(dataset):
    vae = member()
    images = batch(image_shape=SHAPE)["image"]
    with pytest.raises(InputError, match="0 draws are not possible; give 1 or more"):
        vae.log_likelihood(images, 0, draws=0)
    with pytest.raises(InputError, match="label"):
        vae.log_likelihood(images)
    with pytest.raises(InputError, match="shape"):
        vae.log_likelihood(images[:, :3], 0)
    with pytest.raises(InputError, match="only a VAE without a task has a log-likelihood; leave out the draws"):
        keras_ae.evaluate(keras_ae.conv_autoencoder((8, 8, 3), 2, 2, width=4), dataset, draws=2)
