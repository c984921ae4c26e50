"""Numbers that are not finite: the training stops with a reason, and what it has saved is finite."""

import random

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import NotFiniteError
from tests.helpers import dtype_policy, small_vae


class TooHigh(keras.callbacks.Callback):
    """In the second epoch the learning rate is far too high."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 1e-3 if epoch == 0 else 1e30


def autoencoder():
    random.seed(0)
    model = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4)
    model.compile("sgd", **keras_ae.get_task("reconstruct").measures(model))
    return model


def vae():
    model = small_vae(conditioning="none", max_skipped_steps=4)
    model.compile("sgd")
    return model


@pytest.mark.parametrize(
    ("build", "precision"),
    [(autoencoder, "float32"), (autoencoder, "mixed_bfloat16"), (autoencoder, "mixed_float16"), (vae, "float32")],
)
def test_a_learning_rate_too_high_stops_the_training(tmp_path, dataset, build, precision):
    with dtype_policy(precision):
        model = build()
    task = keras_ae.get_task("reconstruct") if build is autoencoder else None
    with pytest.raises(NotFiniteError, match=r"^stopped: .* not finite.* Lower the learning rate"):
        keras_ae.fit(model, dataset, tmp_path, epochs=50, task=task, batch_size=8, callbacks=[TooHigh()])
    with np.load(tmp_path / "checkpoint.npz") as saved:
        weights = [saved[name] for name in saved.files if name.startswith("model")]
    assert len(weights) >= len(model.weights)
    assert all(np.isfinite(weight).all() for weight in weights)
    assert all(np.isfinite(weight).all() for weight in keras_ae.load_model(tmp_path / "best.keras").get_weights())
