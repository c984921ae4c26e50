"""A training in a folder: what it returns, saves and says, and that it resumes as if it had not been stopped."""

import concurrent.futures
import math

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, files, training
from tests.helpers import SignalAt, once, same_run, small_vae, variables


class StopAfter(keras.callbacks.Callback):
    """Asks for the end of the training after an epoch, counted from 0."""

    def __init__(self, epoch):
        super().__init__()
        self.last = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.last:
            self.model.stop_training = True


def train_averaged(dataset, folder, **kwargs):
    """Three epochs of 8 steps by an optimizer that keeps averages, which Keras's fit makes the weights at its end."""
    vae = small_vae(conditioning="none")
    vae.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9))
    history = keras_ae.train(vae, dataset, folder, epochs=3, batch_size=8, verbose=False, **kwargs)
    return vae, history


def test_a_run_with_averaged_weights_resumes_within_an_epoch_bit_for_bit(dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_averaged(dataset, tmp_path / "parts", callbacks=[SignalAt(5)])
    resumed, _ = train_averaged(dataset, tmp_path / "parts")
    whole, _ = train_averaged(dataset, tmp_path / "whole")
    for one, other in zip(variables(whole), variables(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_stop_asked_for_in_the_resumed_part_of_an_epoch_ends_the_training(dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_averaged(dataset, tmp_path, callbacks=[SignalAt(5)])
    _, history = train_averaged(dataset, tmp_path, callbacks=[StopAfter(0)])
    assert history.epoch == [0]


def test_a_history_is_of_the_whole_run_and_holds_what_the_test_images_measured(dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_averaged(dataset, tmp_path, callbacks=[SignalAt(13)])
    vae, history = train_averaged(dataset, tmp_path)
    assert isinstance(history, keras.callbacks.History)
    assert history.model is vae
    assert history.epoch == [0, 1, 2]
    assert all(len(values) == 3 for values in history.history.values())
    assert {"loss", "elbo", "val_loss", "val_active_units"} <= history.history.keys()
    measured = vae.evaluate(keras_ae.data.evaluation_batches(dataset.test), return_dict=True, verbose=0)
    assert history.test == {name: float(value) for name, value in measured.items()}
    about = keras_ae.read_metadata(tmp_path / "model.keras")
    assert about["test"] == history.test
    assert (about["dataset"], about["image_shape"]) == ("shapes", [8, 8, 3])
    for saved, weight in zip(keras_ae.load_model(tmp_path / "model.keras").weights, vae.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (saved.value, weight.value)))


@once("files and arguments")
def test_the_model_goes_where_output_says_and_the_folder_is_locked(dataset, tmp_path):
    vae = small_vae(conditioning="none")
    vae.compile("adam")
    settings = {"epochs": 1, "batch_size": 8, "verbose": False, "metadata": {"flags": {"epochs": 1}}}
    (tmp_path / "run").mkdir()
    with files.lock(tmp_path / "run"), pytest.raises(InputError, match="is in use by process"):
        keras_ae.train(vae, dataset, tmp_path / "run", **settings)
    keras_ae.train(vae, dataset, tmp_path / "run", output=tmp_path / "own.keras", **settings)
    assert not (tmp_path / "run" / "model.keras").exists()
    assert keras_ae.read_metadata(tmp_path / "own.keras")["flags"]["epochs"] == 1
    assert keras_ae.read_metadata(tmp_path / "run" / "best.keras")["dataset"] == "shapes"


@once("counted in epochs")
def test_patience_ends_a_training_and_a_resumed_one_stays_ended(dataset, tmp_path):
    """At learning rate 0 the first epoch's validation loss is never beaten."""
    vae = small_vae(conditioning="none")
    vae.compile(keras.optimizers.Adam(0.0))
    for _ in range(2):
        history = keras_ae.fit(vae, dataset, tmp_path, epochs=9, patience=2, batch_size=8)
        assert history.epoch == [0, 1, 2]


@once("counted in epochs")
def test_patience_does_not_take_an_epoch_without_a_number_for_the_best(dataset, tmp_path):
    rows = [{"epoch": 1, "val_loss": math.nan}, {"epoch": 2, "val_loss": 3.0}, {"epoch": 3, "val_loss": 4.0}]
    assert not training._is_over(rows, 2)
    assert training._is_over([*rows, {"epoch": 4, "val_loss": math.nan}], 2)


class NothingFinite(keras.callbacks.Callback):
    """Makes every step of the first epoch one to skip."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta = math.inf if epoch == 0 else 1.0

    def on_test_begin(self, logs=None):
        self.model.beta = 1.0


def test_an_epoch_whose_steps_were_all_skipped_is_no_success(dataset, tmp_path):
    vae = small_vae(conditioning="none")
    vae.compile("adam")
    history = keras_ae.train(
        vae, dataset, tmp_path, epochs=2, batch_size=8, verbose=False, patience=2, callbacks=[NothingFinite()]
    )
    assert history.history["skipped_steps"] == [8, 0]
    assert math.isnan(history.history["loss"][0])
    assert math.isnan(history.history["elbo"][0])
    assert math.isfinite(history.history["loss"][1])
    assert keras_ae.read_metadata(tmp_path / "best.keras")["epoch"] == 2


@once("how Python handles signals")
def test_a_training_runs_in_a_thread(dataset, tmp_path):
    with concurrent.futures.ThreadPoolExecutor() as threads:
        _, history = threads.submit(train_averaged, dataset, tmp_path).result()
    assert history.epoch == [0, 1, 2]


@once("sentences")
def test_a_training_that_deserves_a_second_look_says_so(dataset, tmp_path):
    vae = small_vae(conditioning="none", kl_warmup_steps=20)
    vae.compile(keras.optimizers.Adam(0.0))
    history = keras_ae.train(vae, dataset, tmp_path, epochs=2, batch_size=8, verbose=False)
    history.test["active_units"] = 0.0
    collapsed, warmup = training.notices(history)
    assert collapsed.startswith("None of the 4 latents is active")
    assert warmup.startswith("The training of 16 steps ended within the KL's warm-up of 20")
    history.test["active_units"] = 1.0
    assert training.notices(history)[0].startswith("Only 1 of 4 latents are active")
    history.test["active_units"] = 2.0
    vae.objective.kl_warmup_steps = 16
    assert training.notices(history) == []
    history.history["val_loss"] = [5.0, 3.0, 4.0]
    assert training.notices(history)[0].startswith("The validation loss was lowest after epoch 2 (3) and rose to 4")
    history.history["val_loss"] = [5.0, 3.0, 3.01]
    assert training.notices(history) == []


@once("the same batches everywhere")
def test_an_autoencoder_is_saved_with_its_task(dataset, tmp_path):
    task = keras_ae.get_task("denoise")
    model = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4, task="denoise")
    model.compile("adam", **task.measures(model))
    history = keras_ae.train(model, dataset, tmp_path, epochs=1, batch_size=8, task=task, verbose=False)
    assert {"mse", "psnr", "ssim"} <= history.test.keys()
    about = keras_ae.read_metadata(tmp_path / "model.keras")
    assert (about["model"], about["task"], about["corruption"]) == ("conv_ae", "denoise", "gaussian:25/255")
    assert training.notices(history) == []
