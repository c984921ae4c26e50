"""What the training scripts know of runs, without a run."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from keras_ae import InputError, conv_autoencoder, save_model

TRAIN = Path(__file__).parent.parent / "train"


def test_a_training_goes_on_from_a_model_with_fewer_blocks(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(TRAIN)
    runs = importlib.import_module("_runs")
    images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
    saved, deep, other = (
        conv_autoencoder((8, 8, 3), 2, 6, width=4, skip_connections=True, task="denoise", blocks=blocks)
        for blocks in (0, 2, 1)
    )
    save_model(saved, tmp_path / "plain.keras")
    runs.start_from(deep, tmp_path / "plain.keras")
    expected = saved.predict(images, verbose=0)
    np.testing.assert_allclose(deep.predict(images, verbose=0), expected, atol=1e-6)
    save_model(deep, tmp_path / "deep.keras")
    with pytest.raises(InputError, match="holds another model"):
        runs.start_from(other, tmp_path / "deep.keras")
