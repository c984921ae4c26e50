"""Two devices train, validate, stop and go on as one does."""

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import backends
from tests.devices import member

BACKEND = keras.backend.backend()
SIMULATED = {"jax": [True, False], "tensorflow": [True], "torch": [False]}[BACKEND]


@pytest.fixture
def two(tmp_path):
    """Trains on two devices what one has begun: a function of a kind of model -> the folder of its runs."""

    def run(kind, simulated):
        if kind == "statistics":
            member.stop(tmp_path / "begun", kind)
        processes = member.launched("-m", "tests.devices.process", tmp_path, kind, simulated=simulated)
        for process in processes:
            printed, _ = process.communicate(timeout=600)
            assert process.returncode == 0, printed
        return tmp_path

    return run


def assert_same(one, other) -> None:
    """Two run folders with the same history and the same weights, up to the order in which numbers are added."""
    rows = [np.genfromtxt(folder / "history.csv", delimiter=",", names=True) for folder in (one, other)]
    assert rows[0].dtype.names == rows[1].dtype.names
    for name in rows[0].dtype.names:
        np.testing.assert_allclose(rows[1][name], rows[0][name], rtol=2e-4, atol=1e-4, err_msg=name)
    models = [keras_ae.load_model(folder / "model.keras") for folder in (one, other)]
    for weights in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(*weights, atol=5e-5)
    test = [keras_ae.read_metadata(folder / "model.keras")["test"] for folder in (one, other)]
    assert test[0].keys() == test[1].keys()
    np.testing.assert_allclose(list(test[1].values()), list(test[0].values()), rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("simulated", SIMULATED)
def test_two_devices_are_one_also_after_a_stop_in_either_number(tmp_path, two, simulated):
    folder = two("statistics", simulated)
    history = member.run(tmp_path / "one", epochs=4)
    assert history.history["skipped_steps"] == [1.0] * 4
    assert sum(history.history["clipped_steps"]) > 0
    member.run(folder / "stopped", epochs=4)
    for run in ("whole", "begun", "stopped"):
        assert_same(tmp_path / "one", folder / run)


@pytest.mark.parametrize("simulated", SIMULATED)
@pytest.mark.parametrize("kind", member.KINDS[1:2])
def test_two_devices_train_other_models_as_one_does(tmp_path, two, kind, simulated):
    folder = two(kind, simulated)
    member.run(tmp_path / "one", kind, epochs=4)
    assert_same(tmp_path / "one", folder / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("simulated", SIMULATED)
@pytest.mark.parametrize("kind", member.KINDS[2:])
def test_two_devices_train_more_models_as_one_does(tmp_path, two, kind, simulated):
    test_two_devices_train_other_models_as_one_does(tmp_path, two, kind, simulated)


def test_one_device_is_the_world():
    assert backends.world() == (0, 1, 1)
    assert backends.is_first()
    assert backends.once(lambda: 3) == 3
    assert backends.mine(5) == slice(0, 5)
