import csv
import random

import keras
import numpy as np
import pytest
from PIL import Image

from keras_ae import InputError, callbacks, conv_autoencoder, data, get_task
from tests.helpers import batch, small_vae, variables


@pytest.fixture
def split(tmp_path):
    return data.load("shapes", cache_dir=tmp_path, limit=80, image_size=(8, 8)).train


def train(split, folder, epochs, stop_after=None):
    """A run as train/vae.py makes it, from where its folder says."""
    vae = small_vae(kl_warmup_steps=5)
    vae.compile(keras.optimizers.Adam(1e-2))
    folder.mkdir(exist_ok=True)
    history = callbacks.restore(vae, folder)
    vae.fit(
        data.training_batches(_three_classes(split), 8, seed=2, epoch=len(history)),
        steps_per_epoch=data.steps_per_epoch(_three_classes(split), 8),
        epochs=stop_after or epochs,
        initial_epoch=len(history),
        validation_data=data.evaluation_batches(_three_classes(split), 16),
        callbacks=[callbacks.Checkpoint(folder, history)],
        verbose=0,
    )
    return vae


def _three_classes(split):
    return data.Split(split.arrays, split.indices[split.arrays["labels"][split.indices] < 3])


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, split):
    whole = train(split, tmp_path / "whole", 4)
    train(split, tmp_path / "parts", 4, stop_after=2)
    resumed = train(split, tmp_path / "parts", 4)
    for one, other in zip(variables(whole), variables(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (tmp_path / "whole/history.csv").read_text() == (tmp_path / "parts/history.csv").read_text()
    with open(tmp_path / "parts/history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert {"loss", "val_elbo", "val_active_units"} <= rows[0].keys()


def test_a_resumed_autoencoder_ends_as_an_uninterrupted_one(tmp_path, split):
    task = get_task("denoise")
    for name, ends in (("whole", [2]), ("parts", [1, 2])):
        for end in ends:
            random.seed(0)
            model = conv_autoencoder((8, 8, 3), 4, 4, width=4, task="denoise")
            model.compile(keras.optimizers.Adam(1e-2), **task.measures(model))
            (tmp_path / name).mkdir(exist_ok=True)
            history = callbacks.restore(model, tmp_path / name)
            model.fit(
                data.training_batches(split, 16, epoch=len(history), task=task),
                steps_per_epoch=data.steps_per_epoch(split, 16),
                initial_epoch=len(history),
                epochs=end,
                callbacks=[callbacks.Checkpoint(tmp_path / name, history)],
                verbose=0,
            )
    assert (tmp_path / "whole/history.csv").read_text() == (tmp_path / "parts/history.csv").read_text()


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path, split):
    folder = tmp_path / "run"
    train(split, folder, 1)
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
