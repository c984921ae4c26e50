"""The arithmetic of the experiments in benchmarks/."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from keras_ae import data
from keras_ae.evaluation.distances import frechet_distance
from tests.helpers import once

pytestmark = once("no backend in it")


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks" / "quality")
    return importlib.import_module


def test_frechet_distance_of_shifted_and_scaled_features(random):
    features = random.normal(size=(500, 6)) @ random.normal(size=(6, 6))
    shift = np.arange(6.0)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + shift) == pytest.approx(np.square(shift).sum())
    centred = features - features.mean(0)
    variance = np.cov(features, rowvar=False).trace()
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * variance)  # (3 - 1)^2 tr C


def test_random_codes_keep_each_number_and_nothing_between_them(experiment, random):
    codes = random.normal(size=(4000, 1, 1, 1)) + 0.1 * random.normal(size=(4000, 2, 1, 2))
    found = experiment("generators").shuffled(codes)
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(codes, axis=0))
    assert np.abs(np.corrcoef(found.reshape(4000, 4).T) - np.eye(4)).max() < 0.1


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("count", [40, 300], ids=["fewer images than pixels", "more"])
def test_pca_errors_are_those_of_the_singular_vectors(experiment, random, count, mirrored):
    pixels = random.integers(0, 256, (count + 20, 6, 6, 3), dtype="uint8")
    arrays = {"images": pixels, "labels": np.zeros(count + 20, "int32")}
    train, test = (data.Split(arrays, rows) for rows in (np.arange(count), np.arange(count, count + 20)))
    found = experiment("codes").pca_errors(train, {"test": test}, [1, 7, 30], mirrored)["test"]
    x, y = (split.batch(slice(None))["image"].astype("float64") for split in (train, test))
    x = np.concatenate([x, x[:, :, ::-1]]) if mirrored else x
    x, y = (images.reshape(len(images), -1) for images in (x, y))
    directions = np.linalg.svd(x - x.mean(0), full_matrices=False)[2]
    for kept in (1, 7, 30):
        basis = directions[:kept]
        error = np.square((y - x.mean(0)) @ (np.eye(108) - basis.T @ basis)).mean()
        assert found[kept] == pytest.approx(error, rel=1e-4)
