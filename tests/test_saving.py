import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError
from tests.helpers import batch, small_vae


def test_a_saved_file_has_its_metadata_and_no_optimizer(tmp_path):
    vae = small_vae(likelihood="gaussian", beta=0.5)
    vae.compile("adam")
    vae.fit(batch(), verbose=0)
    path = keras_ae.save_model(vae, tmp_path / "new" / "vae.keras", {"dataset": "shapes"})
    assert keras_ae.read_metadata(path) == {"dataset": "shapes"}
    assert [file.name for file in path.parent.iterdir()] == ["vae.keras"]
    for loaded in (keras_ae.load_model(path), keras.saving.load_model(path)):
        assert not loaded.compiled
        assert loaded.beta == 0.5
        np.testing.assert_allclose(loaded.sample(3, seed=0), vae.sample(3, seed=0), atol=1e-6)
    with_optimizer = tmp_path / "whole.keras"
    vae.save(with_optimizer)
    assert path.stat().st_size < 0.7 * with_optimizer.stat().st_size


def test_a_loaded_model_evaluates_at_once_as_the_original(tmp_path):
    vae = small_vae(likelihood="gaussian")
    vae.compile("adam")
    vae.fit(batch(), verbose=0)
    loaded = keras_ae.load_model(keras_ae.save_model(vae, tmp_path / "vae.keras"))
    expected = vae.evaluate(batch(), return_dict=True, verbose=0)
    found = loaded.evaluate(batch(), return_dict=True, verbose=0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)


def test_a_model_trained_in_half_precision_is_saved_in_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        vae = small_vae()
    finally:
        keras.config.set_dtype_policy("float32")
    loaded = keras_ae.load_model(keras_ae.save_model(vae, tmp_path / "vae.keras"))
    np.testing.assert_allclose(loaded.sample(3, seed=0), small_vae().sample(3, seed=0), atol=1e-6)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = keras_ae.save_model(small_vae(), tmp_path / "vae.keras", {"number": 1})

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    with pytest.raises(OSError, match="no space"):
        keras_ae.save_model(small_vae(), path, {"number": 2})
    monkeypatch.undo()
    assert keras_ae.read_metadata(path) == {"number": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["vae.keras"]


def test_files_that_are_none_of_ours_are_named(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        keras_ae.load_model(tmp_path / "missing.keras")
    whole = keras_ae.save_model(small_vae(), tmp_path / "vae.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated"):
        keras_ae.load_model(tmp_path / "cut.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "foreign.keras")
    for read in (keras_ae.load_model, keras_ae.read_metadata):
        with pytest.raises(InputError, match="none of keras_ae"):
            read(tmp_path / "foreign.keras")
