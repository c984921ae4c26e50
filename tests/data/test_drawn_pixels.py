"""Pixels that are drawn: grey ones as 0 and 1, and within their level."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ae import InputError, data
from keras_ae.data import Dataset, Split


def greys(n=3000) -> Dataset:
    levels = np.array([0, 1, 51, 128, 254, 255], "uint8")
    arrays = {"images": np.tile(levels.reshape(1, 2, 3, 1), (n, 1, 1, 1)), "labels": np.arange(n, dtype="int32")}
    split = Split(arrays, np.arange(n))
    return Dataset("greys", [], split, Split(arrays, np.arange(5)), Split(arrays, np.arange(0, n, 2)))


def test_a_grey_is_the_probability_of_1():
    images = greys().binarized().train.batch(slice(None))["image"]
    assert set(np.unique(images)) == {0, 1}
    share, expected = images.mean(0).ravel(), np.array([0, 1, 51, 128, 254, 255]) / 255
    error = np.sqrt(expected * (1 - expected) / len(images))
    assert (np.abs(share - expected) <= 4 * error).all()
    assert share[0] == 0
    assert share[-1] == 1


def test_a_level_is_an_interval_whose_values_are_equally_likely():
    levels = 256 * greys().dequantized().train.batch(slice(None))["image"].astype("float64")
    expected = np.array([0, 1, 51, 128, 254, 255])
    within = levels.reshape(len(levels), -1) - expected
    assert within.min() >= 0
    assert within.max() < 1
    assert stats.kstest(within[:, 2], "uniform").pvalue > 0.001
    assert np.abs(np.corrcoef(within.T) - np.eye(6)).max() < 0.1


@pytest.mark.parametrize("drawn", [Dataset.binarized, Dataset.dequantized])
def test_training_draws_anew_each_epoch_and_all_else_once(drawn):
    dataset = drawn(greys(40))

    def epoch(number, seed=3, batch_size=8):
        stream = iter(data.training_batches(dataset.train, batch_size, seed=seed, epoch=number, endless=True))
        batches = [next(stream) for _ in range(40 // batch_size)]
        batches = [{name: keras.ops.convert_to_numpy(value) for name, value in batch.items()} for batch in batches]
        order = np.argsort(np.concatenate([batch["label"] for batch in batches]))
        return np.concatenate([batch["image"] for batch in batches])[order]

    first = epoch(0)
    assert len(first) == 40
    np.testing.assert_array_equal(first, epoch(0, batch_size=20))  # whatever the batches are
    for other in (epoch(1), epoch(0, seed=4)):
        assert not np.array_equal(first, other)
    evaluated = [keras.ops.convert_to_numpy(batch["image"]) for batch in data.evaluation_batches(dataset.test, 7)]
    np.testing.assert_array_equal(np.concatenate(evaluated), dataset.test.batch(slice(None))["image"])
    np.testing.assert_array_equal(evaluated[0][1], dataset.train.batch(np.array([2]))["image"][0])  # by the image alone
    assert not np.array_equal(dataset.train.batch(slice(None))["image"], first)


def test_images_differ_and_the_others_stay():
    dataset = greys(40)
    assert not dataset.is_binarized
    assert dataset.train.batch(slice(0, 1))["image"].max() == 1
    assert 0 < dataset.train.batch(slice(0, 1))["image"][0, 0, 1, 0] < 1
    binarized = dataset.binarized()
    assert binarized.is_binarized
    assert not binarized.is_dequantized
    assert dataset.dequantized().is_dequantized
    for again in (binarized.dequantized, dataset.dequantized().binarized, binarized.binarized):
        with pytest.raises(InputError, match="the pixels are drawn already"):
            again()
    middle = binarized.train.batch(slice(None))["image"][:, 1, 0, 0]
    assert 0 < middle.mean() < 1


def test_colours_are_refused(dataset):
    with pytest.raises(InputError, match="only grey images are binarized; those of shapes have 3 channels"):
        dataset.binarized()


@pytest.mark.parametrize("validation", [0, 1, 7, 39])
def test_so_many_images_validate(tmp_path, validation):
    shapes = data.load("shapes", image_size=(8, 8), limit=40, cache_dir=tmp_path, validation=validation)
    assert len(shapes.validation) == validation
    assert len(shapes.train) == 40 - validation
    assert not set(shapes.validation.indices) & set(shapes.train.indices)
    more = data.load("shapes", image_size=(8, 8), limit=40, cache_dir=tmp_path, validation=39)
    assert set(shapes.validation.indices) <= set(more.validation.indices)


def test_more_images_than_there_are_cannot_validate(tmp_path):
    with pytest.raises(InputError, match="40 of 40 training images of shapes cannot validate; leave 1 to train on"):
        data.load("shapes", image_size=(8, 8), limit=40, cache_dir=tmp_path, validation=40)
