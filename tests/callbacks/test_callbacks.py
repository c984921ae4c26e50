import csv
import io
import itertools
import json
import math
import random
import zipfile

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


def _within_an_epoch(dataset, folder):
    """A checkpoint after 4 of 8 steps, as arrays, and its state."""
    with pytest.raises(KeyboardInterrupt):
        train_vae(dataset, folder, callbacks=[SignalAt(13)])
    with np.load(folder / "checkpoint.npz") as saved:
        arrays = dict(saved)
    return arrays, json.loads(str(arrays.pop("state")))


ROW = {"epoch": 1, "loss": 2.0}
UNTRUE = {
    "batch": [8, -1, 10**6, 2.0, True, "4", None, 0],
    "history": [
        {},
        "x",
        [7],
        [ROW | {"epoch": 2}],
        [{"loss": 2.0}],
        [ROW | {"loss": "2"}],
        [ROW, ROW],
        [ROW | {"a": []}],
    ],
    "stream": [[], "x", None, 3],
}


@once("what is read from a file")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in UNTRUE.items() for value in values])
def test_a_checkpoint_that_says_what_no_training_writes_is_refused(tmp_path, dataset, name, value):
    """Its checksums are right."""
    arrays, state = _within_an_epoch(dataset, tmp_path)
    np.savez(tmp_path / "checkpoint.npz", state=json.dumps(state | {name: value}), **arrays)
    with pytest.raises(InputError, match=r"checkpoint.npz is damaged \(.*\); delete it to start the run again"):
        train_vae(dataset, tmp_path)


def _lacks_sums(arrays):
    return {name: array for name, array in arrays.items() if not name.startswith("metric_")}


def _resized_sums(arrays):
    return arrays | {"metric_0": np.zeros(7, "float32")}


def _complex(arrays):
    return arrays | {"model_0": arrays["model_0"].astype("complex64")}


def _text(arrays):
    return arrays | {"model_0": np.full(arrays["model_0"].shape, "x")}


def _more(arrays):
    return arrays | {"model_999": np.zeros(1)}


@once("what is read from a file")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_lacks_sums, "0 running sums at batch 4"),
        (_resized_sums, "another model: its running sums differ"),
        (_complex, "model_0 holds numbers of another kind"),
        (_text, "model_0 holds numbers of another kind"),
        (_more, "another model"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, dataset, change, message):
    arrays, state = _within_an_epoch(dataset, tmp_path)
    np.savez(tmp_path / "checkpoint.npz", state=json.dumps(state), **change(arrays))
    with pytest.raises(InputError, match=message):
        train_vae(dataset, tmp_path)


@once("what is read from a file")
def test_a_checkpoint_does_not_grow_when_it_is_read(tmp_path, dataset):
    """Neither by compression nor by a header that promises more numbers than there are."""
    arrays, state = _within_an_epoch(dataset, tmp_path)
    file = tmp_path / "checkpoint.npz"
    np.savez(file, state=json.dumps(state), **arrays)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = bytes(60_000)  # the file is as large as all that it holds
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if name == "state.npy" else zipfile.ZIP_STORED)
    with pytest.raises(InputError, match="damaged"):
        train_vae(dataset, tmp_path)
    promise = io.BytesIO()
    np.lib.format.write_array_header_1_0(promise, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (members | {"metric_0.npy": promise.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"metric_0.npy is not what it says"):
        train_vae(dataset, tmp_path)


@once("comparisons")
def test_the_best_epoch_is_one_with_a_number(tmp_path, dataset):
    vae = small_vae()
    vae.compile("adam")
    rows = [{"epoch": 1, "val_loss": math.nan}, {"epoch": 2, "val_loss": 5.0}]
    best = callbacks.SaveBest(tmp_path / "best.keras", callbacks.State(history=rows))
    best.set_model(vae)
    for loss, is_best in ((math.nan, False), (6.0, False), (4.0, True)):
        best.on_epoch_end(2, {"val_loss": loss})
        assert best.path.exists() == is_best


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
