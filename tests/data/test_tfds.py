"""Sets of tensorflow-datasets: real images where `TFDS_DATA_DIR` has them; the errors everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ae import InputError, data

REAL = Path(os.environ.get("TFDS_DATA_DIR", "/nowhere"))
needs_cifar10 = pytest.mark.skipif(
    not (REAL / "cifar10").exists(), reason="set TFDS_DATA_DIR to a folder with a prepared cifar10"
)


@needs_cifar10
def test_cifar10_is_read_and_then_opened_without_tensorflow(tmp_path):
    # In a process of its own: TensorFlow, once imported, stays.
    code = """
import sys, numpy as np
from keras_ae import data
cifar = data.load("cifar10", cache_dir=sys.argv[1], limit=40)
assert cifar.class_names[3] == "cat" and cifar.image_shape == (32, 32, 3)
assert 0.3 < cifar.train.batch(slice(None))["image"].mean() < 0.6
print("tensorflow" in sys.modules)
"""
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert printed == ["True", str(keras.backend.backend() == "tensorflow")]


@needs_cifar10
def test_cifar10_can_be_resized(tmp_path):
    cifar = data.load("cifar10", cache_dir=tmp_path, limit=5, image_size=(20, 24))
    assert cifar.image_shape == (20, 24, 3)
    assert np.ptp(cifar.test.batch(slice(None))["image"]) > 0.5


def test_a_missing_set_says_where_it_was_looked_for_and_the_ways_out(tmp_path, monkeypatch, capsys):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", offline)
    with pytest.raises(InputError) as caught:
        data.load("stl10", data_dir=tmp_path, cache_dir=tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    for part in ("stl10", "no network", "--data-dir", "--dataset shapes"):
        assert part in message
    assert "\n" not in message
    assert "2,640 MB" in capsys.readouterr().out  # the size is said before the download


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="unknown data set 'cifar11'; known are shapes"):
        data.load("cifar11", data_dir=tmp_path, cache_dir=tmp_path)
