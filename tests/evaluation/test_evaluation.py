from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, data, evaluate, get_task
from keras_ae.evaluation import per_class
from keras_ae.objectives.elbo import bits_per_dimension
from tests.helpers import small_vae


def autoencoder(task):
    return keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4, task=task)


def psnr(image, other):
    return np.mean(-10 * np.log10(np.square(image - other).mean(axis=(1, 2, 3))))


def test_bits_per_dimension_of_a_known_density():
    """Uniform pixels need 8 bits; a Gaussian of standard deviation 1 / 256 has the entropy of one of 1 level."""
    assert bits_per_dimension(0.0, (3, 2, 1)) == 8
    entropy = 0.5 * np.log(2 * np.pi * np.e / 256**2)
    assert bits_per_dimension(-6 * entropy, (3, 2, 1)) == pytest.approx(0.5 * np.log2(2 * np.pi * np.e))


@pytest.mark.parametrize("likelihood", ["squared_error", "gaussian", "bernoulli"])
def test_a_vae_by_its_elbo(dataset, likelihood):
    vae = small_vae(likelihood=likelihood)
    results = evaluate(vae, dataset)
    expected = vae.evaluate(data.evaluation_batches(dataset.test), return_dict=True, verbose=0)
    for name, value in expected.items():
        assert results[name] == pytest.approx(float(value), rel=1e-6)
        assert isinstance(results[name], float)
    bits = {} if likelihood == "bernoulli" else {"bits_per_dimension"}
    assert results.keys() - expected.keys() == set(bits)


@pytest.mark.parametrize("name", ["reconstruct", "denoise", "segment"])
def test_an_autoencoder_by_its_task(dataset, name):
    task, model = get_task(name), autoencoder(name)
    split = replace(dataset.validation, mask_levels=(0, 255))
    results = evaluate(model, split, task=task)
    inputs, target = task.take(split, slice(None))
    output = model.predict(inputs, verbose=0)
    if name == "segment":
        assert 0 <= results["mean_iou"] <= 1
        expected = -np.log((output * target).sum(-1)).mean()
        assert results["loss"] == pytest.approx(expected, rel=1e-4)
        return
    assert results["mse"] == pytest.approx(np.square(output - target).mean(), rel=1e-4)
    assert results["psnr"] == pytest.approx(psnr(output, target), rel=1e-4)
    if name == "denoise":
        assert results["noisy_psnr"] == pytest.approx(psnr(inputs["image"], target), rel=1e-4)
    assert evaluate(model, split, task=task, loss="mae")["loss"] == pytest.approx(
        np.abs(output - target).mean(), rel=1e-4
    )


def test_a_model_keeps_what_it_was_compiled_with(dataset):
    task, model = get_task("complete"), autoencoder("complete")
    model.compile(keras.optimizers.Adam(), loss="mae")
    batches = data.training_batches(dataset.train, 16, task=task)
    model.fit(batches, steps_per_epoch=2, shuffle=False, verbose=0)
    before = [keras.ops.convert_to_numpy(variable.value) for variable in model.optimizer.variables]
    assert {"loss", "mse", "psnr", "ssim"} <= evaluate(model, dataset, task=task).keys()
    for old, variable in zip(before, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(variable.value))
    model.fit(batches, steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 4


def test_completions_of_a_vae(dataset):
    vae, task = small_vae(), get_task("complete", "half")
    split = data.Split(dataset.test.arrays, dataset.test.indices[:3])
    results = evaluate(vae, split, task=task)
    inputs, target, missing = task.take(split, slice(None))
    labels = split.batch(slice(None))["label"]
    drawn = vae.complete(target, inputs["mask"], 4, labels=labels, noise=False, seed=0)
    for name, images in (("psnr_single", drawn[:, 0]), ("psnr_mean_of_4", drawn.mean(1))):
        errors = [error[hidden > 0].mean() for error, hidden in zip((images - target) ** 2, missing, strict=True)]
        assert results[name] == pytest.approx(np.mean(-10 * np.log10(errors)), rel=1e-4)


def test_classes_have_their_own_numbers(dataset):
    vae = small_vae()
    whole = evaluate(vae, dataset.validation)
    classes = per_class(lambda part: evaluate(vae, part), dataset, dataset.validation)
    counts = [measures["images"] for measures in classes.values()]
    assert sum(counts) == len(dataset.validation)
    mean = np.average([measures["kl"] for measures in classes.values()], weights=counts)
    assert mean == pytest.approx(whole["kl"], rel=1e-5)
    with pytest.raises(InputError, match="own has no classes"):
        per_class(len, data.Dataset("own", [], *[dataset.test] * 3), dataset.test)


def test_what_cannot_be_measured_says_why(dataset):
    with pytest.raises(InputError, match="give task=get_task"):
        evaluate(autoencoder("reconstruct"), dataset)
    with pytest.raises(InputError, match="the task 'denoise' is neither"):
        evaluate(small_vae(), dataset, task=get_task("denoise"))
    with pytest.raises(InputError, match="no images to measure on"):
        evaluate(small_vae(), data.Split(dataset.test.arrays, dataset.test.indices[:0]))
    bare = data.Split({"images": np.zeros((2, 8, 8, 3)), "labels": np.zeros(2)}, np.arange(2))
    with pytest.raises(InputError, match="of these images has no masks"):
        evaluate(autoencoder("segment"), bare, task=get_task("segment"))
