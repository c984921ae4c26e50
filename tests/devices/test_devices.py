"""Two devices train, validate, stop and go on as one does."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import InputError, backends, data
from keras_ae.backends import devices
from tests.devices import member
from tests.helpers import batch, once, same_run, small_vae

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


def assert_same(one, other, times: float = 1) -> None:
    """Two run folders with the same history and the same weights, up to the order in which numbers are added: so many
    times what float32 may differ by."""
    rows = [np.genfromtxt(folder / "history.csv", delimiter=",", names=True) for folder in (one, other)]
    assert rows[0].dtype.names == rows[1].dtype.names
    for name in rows[0].dtype.names:
        np.testing.assert_allclose(rows[1][name], rows[0][name], rtol=2e-4 * times, atol=1e-4 * times, err_msg=name)
    models = [keras_ae.load_model(folder / "model.keras") for folder in (one, other)]
    for weights in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(*weights, atol=5e-5 * times)
    grids = [sorted(folder.glob("epoch_*.png")) for folder in (one, other)]
    assert [path.name for path in grids[0]] == [path.name for path in grids[1]] != []
    for pair in zip(*grids, strict=True):
        drawn = [np.asarray(Image.open(path), "int16") for path in pair]
        assert np.abs(drawn[1] - drawn[0]).max() <= 2 * times, pair
    test = [keras_ae.read_metadata(folder / "model.keras")["test"] for folder in (one, other)]
    assert test[0].keys() == test[1].keys()
    np.testing.assert_allclose(list(test[1].values()), list(test[0].values()), rtol=2e-4 * times, atol=1e-4 * times)


@pytest.mark.parametrize("simulated", SIMULATED)
def test_two_devices_are_one_also_after_a_stop_in_either_number(tmp_path, two, simulated):
    folder = two("statistics", simulated)
    history = member.run(tmp_path / "one", epochs=4)
    assert history.history["skipped_steps"] == [1.0] * 4
    assert sum(history.history["clipped_steps"]) > 0
    member.run(folder / "stopped", epochs=4)
    for run in ("whole", "begun", "stopped"):
        assert_same(tmp_path / "one", folder / run)
    same_run(folder / "whole", folder / "again")


@pytest.mark.slow
@pytest.mark.parametrize("simulated", SIMULATED)
@pytest.mark.parametrize("kind", member.KINDS[1:])
def test_two_devices_train_other_models_as_one_does(tmp_path, two, kind, simulated):
    folder = two(kind, simulated)
    member.run(tmp_path / "one", kind, epochs=4)
    assert_same(tmp_path / "one", folder / "whole", times=100 if kind == "mixed" else 1)


@pytest.mark.parametrize("simulated", SIMULATED)
def test_two_devices_evaluate_encode_and_sample_as_one_does(tmp_path, two, simulated):
    keras_ae.save_model(small_vae(conditioning="none"), tmp_path / "used.keras")
    expected = member.used(tmp_path / "used.keras")
    with np.load(two("used", simulated) / "used.npz") as results:
        assert sorted(results) == sorted(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(results[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_one_device_is_the_world():
    assert backends.world() == (0, 1, 1)
    assert backends.is_first()
    assert backends.once(lambda: 3) == 3
    assert backends.mine(5) == slice(0, 5)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras has ModelParallel on JAX alone")
def test_a_network_of_which_each_device_has_a_part_trains_as_a_whole_one(tmp_path):
    environment = {**os.environ, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {member.SIMULATED.replace('2', '4')}"}
    for count in ("1", "2", "4"):
        command = [sys.executable, "-m", "tests.devices.sharded", tmp_path / count, count]
        ended = subprocess.run(command, env=environment, cwd=member.ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        parts = dict(line.rsplit(" ", 1) for line in ended.stdout.splitlines() if "/" in line)
        assert {parts[name] for name in parts if "kernel" in name} == {count}
    for count in ("2", "4"):
        for epochs in (1, 2):
            one, other = (keras_ae.load_model(tmp_path / n / f"model_{epochs}.keras") for n in ("1", count))
            for weights in zip(one.get_weights(), other.get_weights(), strict=True):
                np.testing.assert_allclose(*weights, atol=5e-5)


def test_a_model_that_would_drift_apart_is_an_error():
    images = keras.Input((4, 4, 1))
    for layer in (keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.RandomFlip()):
        with pytest.raises(InputError, match=f"the layer {layer.name} would do another thing on each device"):
            devices.check(keras.Model(images, layer(images)), "guarded")
    model = keras.Model(images, keras.layers.Flatten()(images))
    devices.check(model, "stock")
    with pytest.raises(InputError, match="a Functional has steps of its own"):
        devices.check(model, "own")


def test_a_distribution_of_keras_that_sees_nothing_of_the_steps_is_an_error(monkeypatch):
    monkeypatch.setattr(keras.distribution, "distribution", lambda: "Keras's data-parallel one, from version 3.16 on")
    with pytest.raises(InputError, match="distribution sees nothing"):
        devices.check(small_vae(), "guarded")


def test_processes_that_have_not_met_are_an_error(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    if BACKEND == "tensorflow":
        with pytest.raises(InputError, match="keras issue 20585"):
            backends.start()
    vae = small_vae(conditioning="none")
    vae.compile("adam")
    with pytest.raises(InputError, match=r"call keras_ae.backends.start\(\) first"):
        vae.fit(batch(), verbose=0)


def test_more_devices_than_there_are_is_an_error():
    with pytest.raises(InputError, match="--devices"):
        backends.start(99)
    assert backends.world().replicas == 1


@once("counted in images")
def test_a_batch_has_to_divide_among_the_devices(dataset, monkeypatch):
    monkeypatch.setattr(backends, "world", lambda: devices.World(0, 1, 3))
    with pytest.raises(InputError, match="a batch of 16 does not divide among 3 devices; give 15 or 18"):
        data.training_batches(dataset.train, 16)


@once("arithmetic")
def test_each_process_has_its_rows():
    for count in (1, 5, 8):
        parts = [range(count)[devices.rows(process, 3, count)] for process in range(3)]
        assert [row for part in parts for row in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
