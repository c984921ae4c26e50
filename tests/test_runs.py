"""What a run folder keeps, and from which weights a run begins."""

import json
import zlib

import numpy as np
import pytest

from keras_ae import InputError, conv_autoencoder, runs, save_model
from tests.helpers import once

FLAGS = {"dataset": "shapes", "epochs": 3, "image_size": (8, 9), "output": None}


def test_a_training_continues_from_a_model_with_fewer_blocks(tmp_path):
    images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
    saved, deep, other = (
        conv_autoencoder((8, 8, 3), 2, 6, width=4, skip_connections=True, task="denoise", blocks=blocks)
        for blocks in (0, 2, 1)
    )
    save_model(saved, tmp_path / "plain.keras")
    runs.take_weights(deep, tmp_path / "plain.keras")
    expected = saved.predict(images, verbose=0)
    np.testing.assert_allclose(deep.predict(images, verbose=0), expected, atol=1e-6)
    save_model(deep, tmp_path / "deep.keras")
    with pytest.raises(InputError, match="holds another model"):
        runs.take_weights(other, tmp_path / "deep.keras")


@once("files")
def test_a_run_keeps_its_flags_until_it_is_finished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    folder = runs.begin("run", FLAGS | {"dataset": "photos", "cache_dir": "cache"})
    expected = {"dataset": f"{tmp_path}/photos", "cache_dir": f"{tmp_path}/cache", "image_size": [8, 9]}
    assert runs.resume(folder) == FLAGS | expected
    with pytest.raises(InputError, match="run exists already; choose another folder with --run-dir, or resume"):
        runs.begin(folder, FLAGS)
    (folder / "model.keras").write_text("")
    with pytest.raises(InputError, match=r"run is finished: run/model.keras exists already"):
        runs.resume(folder)
    with pytest.raises(InputError, match=r"nowhere/config.json cannot be read \(No such file or directory\)"):
        runs.read_flags("nowhere")


@once("files")
def test_a_run_begun_by_an_earlier_version_resumes(tmp_path):
    flags = runs.plain(FLAGS)
    content = {"flags": flags, "crc32": zlib.crc32(json.dumps(flags, sort_keys=True).encode())}
    (tmp_path / "config.json").write_text(json.dumps(content, indent=1))
    assert runs.resume(tmp_path) == flags
    content["flags"]["epochs"] = 4
    (tmp_path / "config.json").write_text(json.dumps(content, indent=1))
    with pytest.raises(InputError, match=r"config.json is damaged or was changed"):
        runs.resume(tmp_path)


@once("files")
def test_a_search_resumes_with_the_same_flags_only(tmp_path):
    folder = runs.open_search(tmp_path / "tune", {"latent_dims": "2,3", "image_size": (8, 8)})
    assert runs.open_search(folder, {"latent_dims": "2,3", "image_size": (8, 8)}) == folder
    with pytest.raises(InputError, match=r"was begun with --latent-dims 2,3, now it is 2,4; give the same flags"):
        runs.open_search(folder, {"latent_dims": "2,4", "image_size": (8, 8)})


@once("files")
@pytest.mark.parametrize(
    ("name", "message"),
    [("model.h5", "must end in .keras"), ("there.keras", "there.keras exists"), ("card.keras", "card.md exists")],
)
def test_a_model_that_could_not_be_saved_is_reported_before_the_training(tmp_path, name, message):
    (tmp_path / "there.keras").write_text("")
    (tmp_path / "card.md").write_text("")
    runs.check_output(tmp_path / "card.keras")
    with pytest.raises(InputError, match=message):
        runs.check_output(tmp_path / name, card=True)
