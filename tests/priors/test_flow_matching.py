"""Flow matching: the loss and the way of samples against NumPy, and the training of a prior on codes."""

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, codes
from keras_ae.models import PriorFit
from keras_ae.models.prior_fit import MOMENTUM
from keras_ae.priors import FlowMatching
from keras_ae.priors.flow_matching import STEPS
from tests.helpers import CLASSES, SignalAt, once, same_run, set_weights

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor
SHAPE = (8, 8, 1)


def prior(shape=(2, 2, 3), classes=3, **kwargs) -> FlowMatching:
    made = FlowMatching(width=8, blocks=1, classes=classes, **kwargs)
    made.build((None, *shape))
    return made


def moves(prior, function) -> None:
    """Lets this give the velocities, in place of the network."""
    prior.network.predict_on_batch = lambda inputs: function(*inputs).astype("float32")


def test_the_loss_is_numpys():
    made = prior()
    made.mean.assign([1, 2, 3])
    made.std.assign([0.5, 1, 2])
    random = np.random.default_rng(0)
    code, label = random.normal(size=(50, 2, 2, 3)).astype("float32"), np.arange(50, dtype="int32") % 3
    draws = [random.normal(size=(50, 2, 2, 3)).astype("float32"), random.normal(size=(2, 50)).astype("float32")]
    given, seen = iter(draws), {}

    def network(inputs):
        seen["z"], seen["sines"], seen["label"] = map(to_numpy, inputs)
        return inputs[0]

    losses = to_numpy(made.losses(network, tensor(code), tensor(label), lambda shape: tensor(next(given))))
    z = (code - [1, 2, 3]) / [0.5, 1, 2]
    time = 1 / (1 + np.exp(-draws[1][0]))
    share = time.reshape(-1, 1, 1, 1)
    on_the_way = (1 - share) * draws[0] + share * z
    np.testing.assert_allclose(seen["z"], on_the_way, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(losses, np.square(on_the_way - (z - draws[0])).mean((1, 2, 3)), rtol=1e-3)
    assert set(seen["label"][draws[1][1] < -1.2816]) == {3}
    np.testing.assert_array_equal(seen["label"][draws[1][1] > -1.2815], label[draws[1][1] > -1.2815])
    angles = time[:, None] * np.exp(np.linspace(0, np.log(1000), 32))
    np.testing.assert_allclose(seen["sines"], np.concatenate([np.sin(angles), np.cos(angles)], 1), atol=1e-3)


def test_samples_follow_the_velocity_and_are_scaled_to_codes():
    made = prior(classes=0)
    made.adapt_to(np.random.default_rng(0).normal([1, 2, 3], [0.5, 1, 2], (5000, 2, 2, 3)).astype("float32"))
    np.testing.assert_allclose(to_numpy(made.mean.value), [1, 2, 3], atol=0.1)
    np.testing.assert_allclose(to_numpy(made.std.value), [0.5, 1, 2], rtol=0.05)
    moves(made, lambda z, sines, label: z)  # dz/dt = z
    noise = np.random.default_rng(4).standard_normal((5, 2, 2, 3), dtype="float32")
    h = 1 / STEPS
    factor = (1 + h + h**2 / 2) ** (STEPS - 1) * (1 + h)  # of Heun's steps, and of Euler's at the end
    expected = factor * noise * to_numpy(made.std.value) + to_numpy(made.mean.value)
    np.testing.assert_allclose(made.sample(5, np.random.default_rng(4)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(factor, np.e, rtol=0.003)
    cold = made.sample(5, np.random.default_rng(4), 0.0)
    np.testing.assert_allclose(cold, np.broadcast_to(to_numpy(made.mean.value), cold.shape), atol=1e-6)


@pytest.mark.parametrize(("guidance", "expected"), [(None, 1.5), (0, 0), (1, 1), (2.5, 2.5)])
def test_guidance_leads_away_from_what_the_network_does_without_labels(guidance, expected):
    made = prior()
    moves(made, lambda z, sines, label: 0 * z + np.where(label == 3, 0.25, label)[:, None, None, None])
    labels = np.array([0, 1, 2, 2])
    noise = np.random.default_rng(4).standard_normal((4, 2, 2, 3), dtype="float32")
    moved = made.sample(4, np.random.default_rng(4), labels=labels, guidance=guidance) - noise
    np.testing.assert_allclose(moved[:, 0, 0, 0], 0.25 + expected * (labels - 0.25), atol=1e-4)


def test_a_network_that_is_not_trained_stays_where_it_is():
    for shape in ((2, 2, 3), (5,)):
        made = prior(shape)
        noise = np.random.default_rng(4).standard_normal((4, *shape), dtype="float32")
        drawn = made.sample(4, np.random.default_rng(4), labels=np.zeros(4))
        np.testing.assert_allclose(drawn, noise, atol=1e-6)


def generator(classes=3) -> keras_ae.VAE:
    model = keras_ae.conv_autoencoder(SHAPE, 2, 3, width=4)
    set_weights(model.weights)
    return keras_ae.with_prior(model, prior(classes=classes), CLASSES[:classes])


def some_codes(n=40):
    random = np.random.default_rng(0)
    labels = np.arange(n, dtype="int32") % 3
    held = random.normal(labels[:, None, None, None], 0.1, (n, 2, 2, 3)).astype("float32")
    return codes.as_dataset(codes.Codes(held, labels, "means", CLASSES, "0"), SHAPE)


def test_a_fit_moves_the_prior_alone_and_averages_it():
    vae = generator()
    before = {name: getattr(vae, name).get_weights() for name in ("encoder", "decoder")}
    fit = PriorFit(vae)
    fit.compile(keras.optimizers.Adam(1e-2))
    average = [weight.astype("float64") for weight in fit.network.get_weights()]
    start = [weight.copy() for weight in average]
    dataset = some_codes()
    for step in range(4):
        weights = fit.network.get_weights()
        fit.fit(dataset.train.batch(slice(10 * step, 10 * step + 9)), batch_size=9, verbose=0)
        momentum = min(MOMENTUM, (1 + step) / (10 + step))
        average = [momentum * old + (1 - momentum) * new for old, new in zip(average, weights, strict=True)]
    for found, expected in zip(vae.prior.network.get_weights(), average, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    moved = [not np.array_equal(*pair) for pair in zip(start, fit.network.get_weights(), strict=True)]
    assert sum(moved) > len(moved) / 2
    for name, weights in before.items():
        for old, new in zip(weights, getattr(vae, name).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    batch = dataset.validation.batch(slice(None))
    once_more = [fit.evaluate(batch, verbose=0, return_dict=True)["loss"] for _ in range(2)]
    assert once_more[0] == once_more[1]
    vae.prior.network.set_weights([0 * weight for weight in vae.prior.network.get_weights()])
    assert fit.evaluate(batch, verbose=0, return_dict=True)["loss"] != once_more[0]


def test_a_stopped_fit_ends_with_the_same_bits_in_a_file_that_samples(tmp_path):
    dataset = some_codes()

    def train(folder, *callbacks):
        vae = generator()
        vae.prior.adapt_to(dataset.train.arrays["codes"])
        fit = PriorFit(vae, seed=1)
        set_weights(fit.network.weights)
        vae.prior.network.set_weights(fit.network.get_weights())
        fit.compile(keras.optimizers.Adam(1e-2))
        keras_ae.train(fit, dataset, folder, epochs=2, batch_size=9, seed=2, verbose=False, callbacks=callbacks)
        return vae

    vae = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", SignalAt(6))  # of 8
    train(tmp_path / "parts")
    same_run(tmp_path / "whole", tmp_path / "parts")
    loaded = keras_ae.load_model(tmp_path / "whole" / "model.keras")
    samples = vae.sample(4, labels="b", seed=0, guidance=2.0)
    np.testing.assert_allclose(loaded.sample(4, labels="b", seed=0, guidance=2.0), samples, atol=1e-5)
    assert keras_ae.read_metadata(tmp_path / "whole" / "model.keras")["prior"] == "flow_matching:8"
    assert not np.allclose(samples, vae.sample(4, labels="b", seed=0, guidance=0.0), atol=1e-4)


@once("learning takes a while; the other tests compare the backends")
def test_samples_of_a_class_are_codes_of_that_class():
    random = np.random.default_rng(0)
    labels = np.arange(3000, dtype="int32") % 3
    angle = 2 * np.pi * labels / 3
    held = np.stack([np.cos(angle), np.sin(angle)], 1) * 4 + random.normal(0, 0.5, (3000, 2))
    made = FlowMatching(width=16, blocks=2, classes=3)
    made.build((None, 2))
    made.adapt_to(held)
    model = keras_ae.build_vae((4, 4, 1), 2, latent="deterministic", network="mlp", width=4)
    fit = PriorFit(keras_ae.with_prior(model, made, CLASSES))
    fit.compile(keras.optimizers.Adam(3e-3))
    fit.fit({"code": held.astype("float32"), "label": labels}, batch_size=250, epochs=60, verbose=0)
    drawn = fit.shipped().prior.sample(600, random, labels=np.arange(600) % 3, guidance=1.0)
    for label in range(3):
        own, true = drawn[label::3], held[label::3]
        np.testing.assert_allclose(own.mean(0), true.mean(0), atol=0.3)
        np.testing.assert_allclose(own.std(0), true.std(0), rtol=0.6)  # of all classes: 2.9


def test_what_is_not_possible_is_refused():
    for kwargs in ({"width": 12}, {"width": 0}, {"blocks": 0}):
        with pytest.raises(InputError, match="are not possible; give a multiple of 8"):
            FlowMatching(**kwargs)
    vae = keras_ae.build_vae(SHAPE, 4, width=4)
    with pytest.raises(InputError, match="takes no guidance; leave it out"):
        vae.sample(2, guidance=2.0)
    made = prior((4,), classes=0)
    with pytest.raises(InputError, match="knows no density of codes"):
        keras_ae.with_prior(vae, made).evaluate(np.zeros((2, *SHAPE)), verbose=0)
