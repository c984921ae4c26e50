import csv
import itertools
import random

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import InputError, callbacks, conv_autoencoder, get_task
from tests.helpers import ONCE, SignalAt, batch, once, same_run, small_vae, train_vae, variables


def train_autoencoder(dataset, folder, callbacks=()):
    random.seed(0)
    task = get_task("denoise")
    model = conv_autoencoder((8, 8, 3), 4, 4, width=4, task="denoise")
    model.compile(keras.optimizers.Adam(1e-2), **task.measures(model))
    keras_ae.fit(model, dataset, folder, epochs=3, batch_size=8, task=task, callbacks=callbacks)
    return model


@pytest.mark.parametrize("train", [train_vae, train_autoencoder])
@pytest.mark.parametrize("stops", [(3, 2, 6), (8, 16)] if ONCE else [(3, 2, 6)], ids=str)
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, dataset, train, stops):
    """Stopped in the middle of an epoch, twice in the same one, and in the last steps of two."""
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "parts", callbacks=[SignalAt(stop)])
    whole, resumed = train(dataset, tmp_path / "whole"), train(dataset, tmp_path / "parts")
    for one, other in zip(variables(whole), variables(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    same_run(tmp_path / "whole", tmp_path / "parts")
    with open(tmp_path / "parts/history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"loss", "val_loss"} <= rows[0].keys()
    best = min(rows, key=lambda row: float(row["val_loss"]))
    about = keras_ae.read_metadata(tmp_path / "parts" / "best.keras")
    assert about["epoch"] == int(best["epoch"])
    assert about["validation"]["loss"] == float(best["val_loss"])


@once("counted by the callback alone")
@pytest.mark.parametrize(
    ("every", "written"),
    [({"checkpoint_steps": 3}, [3, 6]), ({}, []), ({"checkpoint_seconds": 1}, [1, 2, 3, 4, 5, 6, 7])],
)
def test_checkpoints_by_step_and_by_time(tmp_path, dataset, monkeypatch, every, written):
    batches = []
    monkeypatch.setattr("time.monotonic", itertools.count().__next__)  # a second passes between two looks
    write = callbacks.Checkpoint._write
    monkeypatch.setattr(callbacks.Checkpoint, "_write", lambda self: (batches.append(self.state.batch), write(self)))
    train_vae(dataset, tmp_path, **every)
    assert batches == [*written, 0] * 3


@once("compared before anything is trained")
def test_a_run_goes_on_with_the_same_batches_only(tmp_path, dataset):
    train_vae(dataset, tmp_path)
    vae = small_vae()
    vae.compile("adam")
    with pytest.raises(InputError, match=r"was begun with .*'batch_size': 8.*, now it is .*'batch_size': 16"):
        keras_ae.fit(vae, dataset, tmp_path, epochs=4, batch_size=16, seed=2, flip=True)


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path, dataset):
    folder = tmp_path
    train_vae(dataset, folder)
    other = small_vae(latent_dim=5)
    other.compile("adam")
    with pytest.raises(InputError, match="another model"):
        callbacks.restore(other, folder)
    file = folder / "checkpoint.npz"
    file.write_bytes(file.read_bytes()[:-500])
    vae = small_vae()
    vae.compile("adam")
    with pytest.raises(InputError, match="is damaged"):
        callbacks.restore(vae, folder)


@pytest.mark.parametrize("conditioning", ["none", "decoder"])
def test_pictures_are_written_each_epoch_and_animated(tmp_path, conditioning):
    vae = small_vae(conditioning=conditioning)
    vae.compile("adam")
    grids = callbacks.ImageGrids(tmp_path, callbacks.vae_pictures(batch(5)), every=2)
    vae.fit(batch(), epochs=3, verbose=0, callbacks=[grids, callbacks.LossCurves(tmp_path)])
    names = {path.name for path in tmp_path.iterdir()}
    kinds = ("reconstructions", "samples")
    assert names == {"losses.png", *(f"{kind}.webp" for kind in kinds)} | {
        f"epoch_00{epoch}_{kind}.png" for epoch in (2, 3) for kind in kinds
    }
    with Image.open(tmp_path / "samples.webp") as picture:
        assert picture.n_frames == 2
    rows = 8 if conditioning == "none" else 3
    with Image.open(tmp_path / "epoch_003_samples.png") as picture:
        assert rows * 64 < picture.height < (rows + 1) * 64 + 40


def test_progress_prints_a_line_an_epoch(capsys):
    vae = small_vae()
    vae.compile("adam")
    vae.fit(batch(), epochs=2, validation_data=(batch(),), verbose=0, callbacks=[callbacks.Progress()])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2 | train: loss")
    assert "validation: loss" in lines[1]
