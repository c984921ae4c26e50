"""Trainings with features and an adversary: what learns from what, resumed and rolled back."""

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae.models import ClassifierFit, SharpFit
from keras_ae.networks import build_classifier, build_discriminator
from keras_ae.objectives import Adversarial, FeatureDistance
from tests.helpers import CLASSES, SignalAt, batch, dtype_policy, once, same_run, set_weights

to_numpy = keras.ops.convert_to_numpy
SHAPE = (8, 8, 3)


def vae(**kwargs) -> keras_ae.VAE:
    made = keras_ae.build_vae(SHAPE, (2, 2), latent="fsq:5x5", width=4, **kwargs)
    set_weights(made.weights)
    return made


def sharp(features=True, adversarial=True, weight=0.01, ramp_steps=0, optimizers=None) -> SharpFit:
    classifier, discriminator = build_classifier(SHAPE, 3, width=8), build_discriminator(SHAPE, width=8)
    set_weights(classifier.weights + discriminator.weights)
    fit = SharpFit(
        vae(),
        features=FeatureDistance(classifier, weight=weight) if features else None,
        adversarial=Adversarial(discriminator, weight, ramp_steps) if adversarial else None,
    )
    fit.compile(optimizers or [keras.optimizers.SGD(1e-3) for _ in range(1 + adversarial)])
    return fit


def weights(network) -> list[np.ndarray]:
    return [weight.copy() for weight in network.get_weights()]


def moved(before, network) -> int:
    return sum(not np.array_equal(*pair) for pair in zip(before, network.get_weights(), strict=True))


def test_the_loss_is_the_sum_of_its_parts():
    images = batch()["image"]
    results = sharp().evaluate(images, verbose=0, return_dict=True)
    own = vae().evaluate(images, verbose=0, return_dict=True)
    model = vae()
    made = model.decoder(keras.ops.convert_to_tensor(model.code(images)))
    features = to_numpy(sharp().features(keras.ops.convert_to_tensor(images), made))
    assert results.keys() == own.keys() | {"features"}
    np.testing.assert_allclose(results["loss"], own["loss"] + 0.01 * 192 * results["features"], rtol=1e-5)
    np.testing.assert_allclose(results["features"], features.mean(), rtol=1e-4)
    fit = sharp()
    logs = {name: values[0] for name, values in fit.fit(images, batch_size=6, verbose=0).history.items()}
    expected = own["loss"] + 0.01 * 192 * (logs["features"] + logs["adversarial"])
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)
    true, false = (to_numpy(sharp().adversarial.discriminator(x)) for x in (images, made))
    expected = np.maximum(0, 1 - true).mean() + np.maximum(0, 1 + false).mean()
    np.testing.assert_allclose(logs["discriminator"], expected, rtol=1e-4)


def test_a_weight_of_0_leaves_the_model_as_it_is_and_the_discriminator_learns():
    images = batch()["image"]
    alone = vae()
    alone.compile(keras.optimizers.SGD(1e-3))
    alone.fit(images, batch_size=6, verbose=0)
    fit = sharp(weight=0.0)
    before = weights(fit.adversarial.discriminator)
    fit.fit(images, batch_size=6, verbose=0)
    for found, expected in zip(fit.vae.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert moved(before, fit.adversarial.discriminator) >= len(before) - 1  # within both hinges, the last bias stays


def test_each_learns_from_its_own_loss():
    images = batch()["image"]
    fit = sharp(features=False, optimizers=[keras.optimizers.SGD(0.0), keras.optimizers.SGD(1e-2)])
    before = weights(fit.vae)
    losses = fit.fit(images, batch_size=6, epochs=30, verbose=0).history["discriminator"]
    assert moved(before, fit.vae) == 0
    assert losses[-1] < 0.9 * losses[0]
    fit = sharp(features=False, weight=1.0, optimizers=[keras.optimizers.Adam(1e-2), keras.optimizers.SGD(0.0)])
    before = weights(fit.adversarial.discriminator)
    losses = fit.fit(images, batch_size=6, epochs=30, verbose=0).history["adversarial"]
    assert moved(before, fit.adversarial.discriminator) == 0
    assert losses[-1] < losses[0]


def test_features_pull_the_model():
    images = batch()["image"]
    histories = [
        sharp(adversarial=False, weight=weight, optimizers=keras.optimizers.Adam(1e-2))
        .fit(images, batch_size=6, epochs=30, verbose=0)
        .history["features"]
        for weight in (0.0, 10.0)
    ]
    assert histories[1][-1] < 0.95 * histories[0][-1]


def test_a_step_that_is_not_finite_changes_neither():
    images = batch()["image"]
    images[0, 0, 0, 0] = 0.5
    fit = sharp(optimizers=[keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)])
    fit.fit(images, batch_size=6, verbose=0)
    fit.adversarial.discriminator.get_layer("logits").bias.assign([np.nan])
    before = [to_numpy(variable.value) for variable in fit.trainable_variables + fit.optimizer.variables]
    logs = fit.fit(images, batch_size=6, verbose=0).history
    assert logs["skipped_steps"] == [1.0]
    for old, new in zip(before, fit.trainable_variables + fit.optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, to_numpy(new.value))


def test_a_stopped_training_ends_with_the_same_bits_in_a_file_of_the_vae(tmp_path):
    dataset = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))

    def train(folder, *callbacks):
        fit = sharp(ramp_steps=3, optimizers=[keras_ae.Muon(1e-2), keras.optimizers.Adam(1e-2, beta_1=0.5)])
        keras_ae.train(fit, dataset, folder, epochs=2, batch_size=8, seed=2, verbose=False, callbacks=callbacks)
        return fit

    fit = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", SignalAt(7))
    train(tmp_path / "parts")
    same_run(tmp_path / "whole", tmp_path / "parts")
    loaded = keras_ae.load_model(tmp_path / "whole" / "model.keras")
    assert isinstance(loaded, keras_ae.VAE)
    assert len(loaded.weights) == len(fit.vae.weights)
    images = batch()["image"]
    np.testing.assert_allclose(loaded.reconstruct(images), fit.vae.reconstruct(images), atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_both_learn_in_half_precision(policy):
    if policy == "mixed_float16" and keras.backend.backend() == "torch":
        pytest.skip("torch has no float16 convolutions on a CPU")
    with dtype_policy(policy):
        fit = sharp(optimizers=[keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)])
    assert isinstance(fit.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    before = weights(fit.vae), weights(fit.adversarial.discriminator)
    skipped = fit.fit(batch()["image"], batch_size=6, epochs=15, verbose=0).history["skipped_steps"]
    assert skipped[-1] == 0  # once the loss scale of float16 has come down
    assert policy == "mixed_float16" or not any(skipped)
    assert moved(before[0], fit.vae) > 0.8 * len(before[0])
    assert moved(before[1], fit.adversarial.discriminator) >= len(before[1]) - 1


def test_a_classifier_learns_and_resumes(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(60, dtype="int32") % 3
    rows, columns = np.mgrid[:8, :8]
    stripes = np.stack([rows % 2, columns % 2, (rows + columns) % 2])[labels][..., None]
    pixels = (random.integers(0, 100, (60, 8, 8, 3)) + 100 * stripes).astype("uint8")
    split = keras_ae.data.Split({"images": pixels, "labels": labels}, np.arange(60))
    dataset = keras_ae.data.Dataset("colours", CLASSES, split, split, split)

    def train(folder, *callbacks):
        keras.utils.set_random_seed(0)
        fit = ClassifierFit(build_classifier(SHAPE, 3, width=8))
        fit.compile(keras.optimizers.Adam(1e-2))
        return keras_ae.train(fit, dataset, folder, epochs=12, batch_size=12, verbose=False, callbacks=callbacks)

    history = train(tmp_path / "whole")
    assert history.test["accuracy"] > 0.9, history.test
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", SignalAt(8))
    train(tmp_path / "parts")
    same_run(tmp_path / "whole", tmp_path / "parts")
    path = tmp_path / "whole" / "model.keras"
    logits = to_numpy(keras_ae.load_model(path)(pixels[:9].astype("float32") / 255))
    np.testing.assert_array_equal(logits.argmax(1), labels[:9])
    assert keras_ae.read_metadata(path)["model"] == "classifier"


@once("the parts are compared on all backends")
def test_an_iwae_and_labels_can_be_sharpened():
    model = keras_ae.build_vae(
        SHAPE, 2, objective="iwae:3", class_names=CLASSES, conditioning="decoder", network="mlp", width=4
    )
    fit = SharpFit(model, adversarial=Adversarial(build_discriminator(SHAPE, width=8)))
    fit.compile([keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)])
    images = batch()
    logs = fit.fit(images, images["image"], sample_weight=np.array([1, 1, 1, 0, 0, 2.0]), batch_size=6, verbose=0)
    assert np.isfinite(logs.history["loss"][0])
    assert logs.history["skipped_steps"] == [0.0]


def test_weights_of_images_and_metrics_count_as_in_a_vae():
    images, weight = batch()["image"], np.float32([1, 2, 0, 0, 1, 3])
    model = keras_ae.build_vae(SHAPE, 2, latent="deterministic", network="mlp", width=4)
    fit = SharpFit(model, features=FeatureDistance(build_classifier(SHAPE, 3, width=8)))
    fit.compile(keras.optimizers.SGD(0.0), metrics=[keras_ae.objectives.SSIM()])
    results = [
        fit.evaluate(images[rows], sample_weight=weight[rows], verbose=0, return_dict=True)
        for rows in (
            slice(None),
            [0, 4],
            [1],
            [5],
        )
    ]
    whole, once_, twice, thrice = results
    for name in ("reconstruction", "features", "ssim"):
        expected = (2 * once_[name] + 2 * twice[name] + 3 * thrice[name]) / 7
        np.testing.assert_allclose(whole[name], expected, rtol=1e-4)
    logs = fit.fit(
        images, sample_weight=weight, batch_size=6, verbose=0, validation_data=(images, None, weight)
    ).history
    np.testing.assert_allclose(logs["features"][0], whole["features"], rtol=1e-4)
    np.testing.assert_allclose(logs["val_features"][0], whole["features"], rtol=1e-4)
    with pytest.raises(keras_ae.InputError, match=r"lie|outside|\[0, 1\]"):
        fit.fit(255 * images, batch_size=6, verbose=0)
