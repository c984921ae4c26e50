import json

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, data, get_task
from keras_ae.saving import metadata
from tests.helpers import CLASSES, batch, dtype_policy, folder_with_masks, small_vae


def test_a_saved_file_has_its_metadata_and_no_optimizer(tmp_path):
    vae = small_vae(likelihood="gaussian", beta=0.5)
    vae.compile("adam")
    vae.fit(batch(), verbose=0)
    path = keras_ae.save_model(vae, tmp_path / "new" / "folder" / "vae.keras", {"dataset": "shapes"})
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
    with dtype_policy("mixed_bfloat16"):
        vae = small_vae()
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


def autoencoder(task="reconstruct", **kwargs):
    return keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4, task=task, **kwargs)


def test_metadata_comes_back_as_it_was_made(tmp_path):
    shapes = data.load("shapes", limit=40, image_size=(8, 8))
    task = get_task("denoise", "gaussian:0.1")
    model = autoencoder("denoise")
    made = metadata(model, shapes, task=task, loss="mae", epoch=3, flags={"seed": 1})
    saved = keras_ae.open_model(keras_ae.save_model(model, tmp_path / "model.keras", made))
    assert saved.metadata == json.loads(json.dumps(made))
    assert (saved.is_vae, saved.image_shape, saved.class_names, saved.loss) == (False, (8, 8, 3), [], "mae")
    assert (saved.task().name, saved.task().corruption) == ("denoise", "gaussian:0.1")
    assert saved.task("gaussian:0.2").corruption == "gaussian:0.2"
    assert saved.load_dataset(limit=40).image_shape == (8, 8, 3)


@pytest.mark.parametrize(("likelihood", "name"), [("gaussian", "gaussian"), ("bernoulli", "bernoulli")])
def test_metadata_of_a_vae(likelihood, name):
    shapes = data.load("shapes", limit=40, image_size=(8, 8))
    made = metadata(small_vae(likelihood=likelihood), shapes, image_size=(8, 8), test={"elbo": 1.0})
    assert (made["model"], made["likelihood"], made["task"], made["test"]) == ("vae", name, None, {"elbo": 1.0})
    assert (made["dataset"], made["class_names"]) == ("shapes", shapes.class_names)


def test_files_saved_before_keep_loss_and_image_size_among_the_flags(tmp_path):
    flags = {"loss": "psnr", "image_size": [8, 8]}
    old = {"dataset": "shapes", "task": "complete", "corruption": "half", "flags": flags}
    saved = keras_ae.open_model(keras_ae.save_model(autoencoder("complete"), tmp_path / "old.keras", old))
    assert (saved.loss, saved.task().corruption) == ("psnr", "half")
    assert saved.load_dataset(limit=40).image_size == (8, 8)


WRONG = [
    ([1], "is not a JSON object"),
    ({"image_shape": [8, 8]}, r"image_shape '\[8, 8\]'; it must be \[height, width, channels\]"),
    ({"task": "sharpen"}, "task 'sharpen'; it must be one of reconstruct, denoise, complete, segment"),
    ({"class_names": "cat"}, "class_names 'cat'; it must be a list of names"),
    ({"class_names": ["cat", 1]}, "it must be a list of names"),
    ({"epoch": True}, "epoch 'True'; it must be a whole number"),
    ({"model": ["vae"]}, "it must be one of vae, conv_ae"),
    ({"flags": 3}, "flags '3'; it must be names and values"),
    ({"flags": {"image_size": "large"}}, r"image_size 'large'; it must be \[height, width\]"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_metadata_that_contradicts_the_schema_is_refused(tmp_path, monkeypatch, wrong, message):
    model = small_vae()
    with monkeypatch.context() as patch:
        patch.setattr("keras_ae.saving.files.check_metadata", lambda *_: None)
        path = keras_ae.save_model(model, tmp_path / "wrong.keras", wrong)
    with pytest.raises(InputError, match=message):
        keras_ae.open_model(path)
    if "image_size" not in str(wrong):
        with pytest.raises(InputError, match=message):
            keras_ae.save_model(model, tmp_path / "never.keras", wrong)
        assert not (tmp_path / "never.keras").exists()


def test_files_without_metadata_work_where_nothing_else_is_asked(tmp_path):
    saved = keras_ae.open_model(keras_ae.save_model(small_vae(), tmp_path / "vae.keras"))
    assert (saved.is_vae, saved.class_names, saved.metadata) == (True, CLASSES, {})
    with pytest.raises(
        InputError, match="does not say what it was trained on; name the data set to use with --dataset"
    ):
        saved.load_dataset()
    model = autoencoder(num_classes=6, conditioning="decoder")
    saved = keras_ae.open_model(keras_ae.save_model(model, tmp_path / "ae.keras", {"task": "reconstruct"}))
    assert (saved.is_conditional, saved.class_names) == (True, [])
    shapes = saved.load_dataset("shapes", limit=20)
    assert keras_ae.evaluate(saved.model, shapes, task=saved.task())["mse"] > 0
    with pytest.raises(InputError, match="does not say what it was trained for; save it with"):
        keras_ae.open_model(keras_ae.save_model(model, tmp_path / "ae.keras")).task()
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="without an input named 'image'"):
        keras_ae.open_model(keras_ae.save_model(other, tmp_path / "other.keras"))


def test_data_that_does_not_fit_the_model_is_refused(tmp_path):
    vae = keras_ae.open_model(keras_ae.save_model(small_vae(), tmp_path / "vae.keras"))
    with pytest.raises(InputError, match="the model knows the classes a, b, c; shapes has circle"):
        vae.load_dataset("shapes", limit=20)
    folder = folder_with_masks(tmp_path / "own", (3, 7))
    about = {"task": "segment", "mask_levels": [3, 9], "dataset": str(folder)}
    model = keras_ae.conv_autoencoder((9, 9, 3), 2, 4, width=4, task="segment")
    saved = keras_ae.open_model(keras_ae.save_model(model, tmp_path / "segment.keras", about))
    with pytest.raises(InputError, match=r"was trained on .*own; name the data set to use with --dataset"):
        saved.load_dataset()
    with pytest.raises(InputError, match=r"have the greys \[7\]; the model knows \(3, 9\)"):
        saved.load_dataset(str(folder))
    saved = keras_ae.open_model(keras_ae.save_model(autoencoder(), tmp_path / "ae.keras", {"dataset": str(folder)}))
    with pytest.raises(InputError, match=r"are \(9, 9, 3\); the model takes \(8, 8, 3\)"):
        saved.load_dataset(str(folder))
    one = data.load("shapes", limit=20)
    with pytest.raises(InputError, match="too few images for a validation split"):
        saved.split(data.Dataset("bare", [], one.train, data.Split({}, np.arange(0)), one.test), "validation")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("the first line\nand the second"), "the first line"),
        (ValueError("x" * 200), "x" * 150),
        (KeyError(), "KeyError"),
    ],
)
def test_what_keras_says_of_a_damaged_file_is_one_short_line(tmp_path, monkeypatch, error, reason):
    path = keras_ae.save_model(small_vae(), tmp_path / "vae.keras")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("keras.src.saving.saving_lib.load_model", fail)
    with pytest.raises(InputError, match=rf"does not load \({reason}\); it may be damaged"):
        keras_ae.load_model(path)


def test_a_file_that_is_not_trusted_is_not_opened(tmp_path):
    @keras.saving.register_keras_serializable("of_a_stranger")
    class Strange(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, Strange()(image))
    path = keras_ae.save_model(model, tmp_path / "strange.keras")
    for read in (keras_ae.load_model, keras_ae.open_model):
        with pytest.raises(InputError, match="Strange"):
            read(path)
        read(path, trust=True)


def test_metadata_say_what_nobody_gave():
    shapes = data.load("shapes", limit=40, image_size=(8, 8))
    made = metadata(autoencoder(), shapes)
    assert (made["model"], made["corruption"], "likelihood" in made) == ("conv_ae", None, False)
    assert (made["image_shape"], made["image_size"]) == ((8, 8, 3), (8, 8))
    assert made["versions"] == {"keras_ae": keras_ae.__version__, "keras": keras.__version__}
    assert metadata(autoencoder(), shapes, image_size=(9, 9))["image_size"] == (9, 9)


def test_a_likelihood_of_ones_own_is_known_by_its_class():
    class Laplace(keras_ae.objectives.Likelihood):
        pass

    shapes = data.load("shapes", limit=40, image_size=(8, 8))
    assert metadata(small_vae(likelihood=Laplace()), shapes)["likelihood"] == "Laplace"


def test_a_long_value_is_cut_in_the_message(tmp_path):
    message = "has dataset " + repr(str(list(range(30)))[:50]).replace("[", r"\[") + "; it must be a name"
    with pytest.raises(InputError, match=message):
        keras_ae.save_model(small_vae(), tmp_path / "never.keras", {"dataset": list(range(30))})


def test_a_saved_model_fits_other_data_in_its_own_size(tmp_path):
    about = {"task": "segment", "mask_levels": [0, 255]}
    model = keras_ae.conv_autoencoder((9, 9, 3), 2, 4, width=4, task="segment")
    saved = keras_ae.open_model(keras_ae.save_model(model, tmp_path / "segment.keras", about))
    folder = folder_with_masks(tmp_path / "own", (0, 255))
    dataset = saved.load_dataset(str(folder))
    assert dataset.train.mask_levels == dataset.test.mask_levels == (0, 255)
    assert saved.load_dataset("shapes", limit=20).image_shape == (9, 9, 3)
    assert len(saved.split(dataset, "train")) == len(dataset.train)
    # The greys of the masks are of no concern to another task, nor to a file that does not name them.
    for about in ({"task": "reconstruct", "mask_levels": [3, 9]}, {"task": "segment"}):
        saved = keras_ae.open_model(keras_ae.save_model(model, tmp_path / "segment.keras", about))
        assert saved.load_dataset(str(folder)).train.mask_levels == dataset.train.mask_levels


def test_a_saved_model_is_not_changed(tmp_path):
    saved = keras_ae.open_model(keras_ae.save_model(small_vae(), tmp_path / "vae.keras"))
    with pytest.raises(AttributeError):
        saved.metadata = {"task": "denoise"}
    assert saved.is_conditional
    assert not keras_ae.open_model(
        keras_ae.save_model(small_vae(conditioning="none"), tmp_path / "plain.keras")
    ).is_conditional
