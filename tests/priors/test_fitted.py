"""Priors that are fitted to the codes of a trained model."""

import keras
import numpy as np
import pytest
from scipy import stats

import keras_ae
from keras_ae import InputError
from keras_ae.priors import GMM
from tests.helpers import CLASSES, batch, set_weights, small_vae

to_numpy = keras.ops.convert_to_numpy


def two_humps(n=4000) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, 1, 2, 1) of two classes: the first in two Gaussians, the second in one."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    centre = np.where(labels[:, None], [[0, 5]], np.where(random.random((n, 1)) < 0.5, [[4, 0]], [[-4, 0]]))
    codes = centre + random.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], n)
    return codes.reshape(n, 1, 2, 1).astype("float32"), labels


def test_a_mixture_has_the_density_of_what_it_was_fitted_to():
    codes, labels = two_humps()
    prior = GMM.fitted(codes, labels, classes=2, most=5)
    assert prior.components == 2
    z = codes[:50]
    covariance = [[1, 0.8], [0.8, 1]]
    expected = np.log(
        sum(
            share * stats.multivariate_normal(mean, covariance).pdf(z.reshape(-1, 2))
            for share, mean in ((0.25, [4, 0]), (0.25, [-4, 0]), (0.5, [0, 5]))
        )
    )
    np.testing.assert_allclose(to_numpy(prior.log_prob(keras.ops.convert_to_tensor(z))), expected, atol=0.2)
    drawn = prior.sample(20_000, np.random.default_rng(0)).reshape(-1, 2)
    np.testing.assert_allclose(drawn.mean(0), codes.reshape(-1, 2).mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.reshape(-1, 2).T), rtol=0.1, atol=0.1)


def test_samples_of_a_class_are_of_its_mixture():
    codes, labels = two_humps()
    prior = GMM.fitted(codes, labels, classes=2, most=5)
    drawn = prior.sample(4000, np.random.default_rng(0), labels=np.arange(4000) % 2).reshape(-1, 2)
    for label, mean in ((0, [0, 0]), (1, [0, 5])):
        own = drawn[label::2]
        np.testing.assert_allclose(own.mean(0), mean, atol=0.2)
        np.testing.assert_allclose(np.cov(own.T)[0, 1], 0.8, atol=0.15)
    cold = prior.sample(50, np.random.default_rng(0), 0.0, labels=np.ones(50)).reshape(-1, 2)
    assert {tuple(z) for z in cold} <= {tuple(mean) for mean in to_numpy(prior.means.value)[prior.components :]}


@pytest.mark.parametrize("kind", ["vae", "vq", "autoencoder"])
def test_a_model_with_a_fitted_prior_is_one_file_that_samples(tmp_path, kind):
    """Labels go to the prior where the decoder takes none."""
    shape = (8, 8, 3)
    if kind == "vae":
        model = small_vae(conditioning="none", image_shape=shape)
    elif kind == "vq":
        model = keras_ae.build_vae(shape, (2, 2, 3), latent="vq:5", width=4)
        prior = GMM()
        prior.build((None, 2, 2, 3))
        with pytest.raises(InputError, match="the prior gmm:10 is not for the latent vq:5"):
            keras_ae.with_prior(model, prior, CLASSES)
        return
    else:
        model = keras_ae.conv_autoencoder(shape, 2, 3, width=4)
        set_weights(model.weights)
    data = batch(60, shape)
    if kind == "vae":
        codes, expected = model.code(data["image"]), model.reconstruct(data["image"])
    else:
        codes = model.get_layer("encoder").predict_on_batch([data["image"]])
        expected = keras_ae.restore_images(model, data["image"])
    prior = GMM.fitted(codes, data["label"], classes=3, most=2)
    vae = keras_ae.with_prior(model, prior, CLASSES)
    np.testing.assert_allclose(vae.reconstruct(data["image"]), expected, atol=1e-5)
    loaded = keras_ae.load_model(keras_ae.save_model(vae, tmp_path / "vae.keras"))
    samples = vae.sample(6, labels="b", seed=1)
    assert samples.shape == (6, *shape)
    np.testing.assert_allclose(loaded.sample(6, labels="b", seed=1), samples, atol=1e-5)
    assert not np.allclose(vae.sample(6, labels="c", seed=1), samples, atol=1e-3)
    drawn = prior.sample(6, np.random.default_rng(1), labels=np.arange(6) % 3)
    np.testing.assert_allclose(vae.sample(6, seed=1), vae.decode(drawn), atol=1e-5)
    assert keras_ae.pictures.samples(vae, 6).names == CLASSES
    line = vae.interpolate(data["image"][:2], data["image"][2:4], steps=3)
    np.testing.assert_allclose(line[:, 2], vae.reconstruct(data["image"][2:4]), atol=1e-5)


def test_what_does_not_fit_is_refused():
    codes, labels = two_humps(40)
    prior = GMM.fitted(codes, labels, classes=2, most=1)
    for model, names, message in (
        (
            keras_ae.build_vae((8, 8, 3), 4, width=4),
            CLASSES[:2],
            r"the prior is of codes \(1, 2, 1\); this model's are \(4,\)",
        ),
        (keras_ae.build_vae((8, 8, 3), (1, 2, 1), width=4), CLASSES, "the prior has 2 classes; give the names"),
    ):
        with pytest.raises(InputError, match=message):
            keras_ae.with_prior(model, prior, names)
    with pytest.raises(InputError, match="18 codes of a class are too few for 10 Gaussians"):
        GMM.fitted(codes, labels, classes=2, most=10)
    with pytest.raises(InputError, match="0 components are not possible"):
        GMM(0)
    with pytest.raises(InputError, match="take fewer components"):
        GMM(100, classes=10).build((None, 4096))
