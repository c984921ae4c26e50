"""The transformer over tokens: its density, its samples, and the training on tokens."""

import itertools

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, codes
from keras_ae.models import PriorFit
from keras_ae.priors import Autoregressive, autoregressive, get_fitted
from tests.helpers import CLASSES, SignalAt, once, same_run, set_weights

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor
SHAPE = (8, 8, 1)


def prior(shape=(2, 2, 3), codes=4, classes=3, blocks=2) -> Autoregressive:
    made = Autoregressive(width=64, blocks=blocks, classes=classes)
    made.build((None, *shape), codes=codes)
    set_weights(made.weights)
    return made


def test_all_images_of_tokens_have_the_probability_1():
    made = prior(codes=3)
    tokens = np.array(list(itertools.product(range(3), repeat=4)), "int32").reshape(-1, 2, 2)
    probabilities = np.exp(to_numpy(made.log_prob(tensor(tokens))))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    assert probabilities.std() > 0.1 * probabilities.mean()


def test_a_place_knows_those_before_it_alone():
    made = prior((2, 3, 3))
    place = np.arange(6, dtype="int32")[None]
    before = np.array([[4, 0, 1, 2, 3, 0]], "int32")
    label = np.zeros(1, "int32")
    logits = to_numpy(made.network([before, place, label]))
    for changed in range(1, 6):
        other = before.copy()
        other[0, changed] = (other[0, changed] + 1) % 4
        differs = np.abs(to_numpy(made.network([other, place, label])) - logits)[0].max(1) > 1e-5
        np.testing.assert_array_equal(differs, np.arange(6) >= changed)
    assert np.abs(to_numpy(made.network([before, place, label + 1])) - logits).min(2).min() > 1e-6


def test_kept_keys_and_values_give_what_the_whole_network_gives():
    made = prior((3, 3, 2), codes=7)
    random = np.random.default_rng(0)
    tokens = random.integers(0, 7, (5, 9)).astype("int32")
    labels = np.array([0, 1, 2, 3, 3], "int32")
    before = np.concatenate([np.full((5, 1), 7), tokens[:, :-1]], axis=1).astype("int32")
    place = np.tile(np.arange(9, dtype="int32"), (5, 1))
    logits = to_numpy(made.network([before, place, labels]))
    kept = np.full((5, 2, 2, 9, 64), 1e3, "float32")  # what is not yet there must not matter
    for number in range(9):
        inputs = [before[:, number : number + 1], place[:, number : number + 1], labels, kept]
        found, new = made._network_of_places().predict_on_batch(inputs)
        kept[:, :, :, number] = new[:, :, :, 0]
        np.testing.assert_allclose(found[:, 0], logits[:, number], atol=2e-4)


@pytest.mark.parametrize("guidance", [1, 2.5])
def test_samples_have_the_density(guidance):
    made = prior((1, 2, 3), codes=3)
    n = 20_000
    drawn = made.sample(n, np.random.default_rng(1), 0.7, labels=np.full(n, 1), guidance=guidance)
    before = np.array(list(itertools.product([3], range(3))), "int32")
    place = np.tile(np.arange(2, dtype="int32"), (3, 1))

    def logits(label):
        return to_numpy(made.network([before, place, np.full(3, label, "int32")])).astype("float64")

    guided = (logits(3) + guidance * (logits(1) - logits(3))) / 0.7
    shares = np.exp(guided) / np.exp(guided).sum(2, keepdims=True)
    expected = shares[0, 0][:, None] * shares[:, 1]  # of first token and second
    found = np.histogram2d(*drawn.reshape(n, 2).T, bins=3)[0] / n
    np.testing.assert_allclose(found, expected, atol=0.015)
    assert np.abs(expected - 1 / 9).max() > 0.05


def test_the_likeliest_codes_are_drawn_alone():
    logits = np.log(np.array([[0.1, 0.4, 0.2, 0.3]] * 1000))
    shares = np.linspace(0, 1, 1000, endpoint=False)
    for top_p, kept in ((1.0, [0, 1, 2, 3]), (0.95, [0, 1, 2, 3]), (0.85, [1, 2, 3]), (0.6, [1, 3]), (0.01, [1])):
        found = np.bincount(autoregressive.drawn(logits, shares, top_p), minlength=4) / 1000
        expected = np.where(np.isin(range(4), kept), [0.1, 0.4, 0.2, 0.3], 0)
        np.testing.assert_allclose(found, expected / expected.sum(), atol=2e-3)


def test_samples_depend_on_the_seed_alone(monkeypatch):
    made = prior()
    labels = np.arange(5) % 3
    drawn = made.sample(5, np.random.default_rng(3), labels=labels, guidance=2.0)
    monkeypatch.setattr(autoregressive, "BATCH_SIZE", 2)
    np.testing.assert_array_equal(made.sample(5, np.random.default_rng(3), labels=labels, guidance=2.0), drawn)
    assert not np.array_equal(made.sample(5, np.random.default_rng(4), labels=labels, guidance=2.0), drawn)


def autoencoder() -> keras_ae.VAE:
    model = keras_ae.build_vae(SHAPE, (2, 2), latent="fsq:5x3", width=4)
    set_weights(model.weights)
    return model


def tokens_of_classes(n=80):
    """Tokens that tell their class, but for the last."""
    labels = np.arange(n, dtype="int32") % 3
    held = np.stack([labels, labels + 3, labels + 6, np.random.default_rng(0).integers(0, 15, n)], axis=1)
    return held.reshape(n, 2, 2).astype("int32"), labels


def test_a_stopped_fit_ends_with_the_same_bits_in_a_file_that_samples(tmp_path):
    held, labels = tokens_of_classes()
    dataset = codes.as_dataset(codes.Codes(held, labels, "tokens", CLASSES, "0"), SHAPE)

    def train(folder, *callbacks):
        keras.utils.set_random_seed(0)
        made = get_fitted("autoregressive:32", held, labels, classes=3)
        fit = PriorFit(keras_ae.with_prior(autoencoder(), made, CLASSES), seed=1)
        fit.compile(keras.optimizers.Adam(1e-2))
        keras_ae.train(fit, dataset, folder, epochs=2, batch_size=19, seed=2, verbose=False, callbacks=callbacks)
        return fit.shipped()

    vae = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", SignalAt(6))  # of 8
    train(tmp_path / "parts")
    same_run(tmp_path / "whole", tmp_path / "parts")
    samples = vae.sample(6, labels="b", seed=0, guidance=1.5, top_p=0.9)
    keras_ae.save_model(vae, tmp_path / "again.keras")  # once it has sampled
    for path in (tmp_path / "whole" / "model.keras", tmp_path / "again.keras"):
        loaded = keras_ae.load_model(path)
        found = loaded.sample(6, labels="b", seed=0, guidance=1.5, top_p=0.9)
        np.testing.assert_allclose(found, samples, atol=1e-5)
    assert keras_ae.read_metadata(tmp_path / "whole" / "model.keras")["prior"] == "autoregressive:32"


def test_the_elbo_has_the_density_of_the_tokens():
    made = Autoregressive(width=32, blocks=1)
    vae = keras_ae.with_prior(autoencoder(), made)
    set_weights(vae.prior.weights)
    images = np.random.default_rng(0).random((4, *SHAPE), "float32")
    results = vae.evaluate(images, verbose=0, return_dict=True)
    log_p = to_numpy(vae.prior.log_prob(tensor(vae.encode(images))))
    np.testing.assert_allclose(results["kl"], -log_p.mean(), rtol=1e-4)
    np.testing.assert_allclose(results["loss"], results["reconstruction"] - log_p.mean(), rtol=1e-4)


@once("learning takes a while; the other tests compare the backends")
def test_samples_of_a_class_are_tokens_of_that_class():
    held, labels = tokens_of_classes(600)
    made = get_fitted(None, held, labels, classes=3)
    made.width, made.blocks = 32, 1
    fit = PriorFit(keras_ae.with_prior(autoencoder(), made, CLASSES))
    fit.compile(keras.optimizers.Adam(1e-2))
    fit.fit({"code": held, "label": labels}, batch_size=100, epochs=25, verbose=0)
    wanted = np.arange(300) % 3
    drawn = fit.shipped().prior.sample(300, np.random.default_rng(0), labels=wanted).reshape(300, 4)
    assert (drawn[:, :3] == wanted[:, None] + [0, 3, 6]).mean() > 0.98
    assert len(set(drawn[:, 3])) == 15
    loss = fit.evaluate({"code": held, "label": labels}, verbose=0, return_dict=True)["loss"]
    assert loss < 0.25 * np.log(15) + 0.1 * np.log(3) / 4 + 0.05  # without a label in ten cases


def test_what_is_not_possible_is_refused():
    for kwargs in ({"width": 48}, {"width": 0}, {"blocks": 0}):
        with pytest.raises(InputError, match="are not possible; give a multiple of 32"):
            Autoregressive(**kwargs)
    held, _ = tokens_of_classes()
    with pytest.raises(InputError, match="the prior gmm:2 is not for tokens; take autoregressive"):
        get_fitted("gmm:2", held)
    with pytest.raises(InputError, match="is not for these codes; take gmm, flow_matching"):
        get_fitted("autoregressive", held.astype("float32"))
    made = prior()
    for wrong in ({"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.1}):
        with pytest.raises(InputError, match="leave nothing to draw"):
            made.sample(2, np.random.default_rng(0), **wrong)
    with pytest.raises(InputError, match="takes no top_p; leave it out"):
        autoencoder().sample(2, top_p=0.9)
