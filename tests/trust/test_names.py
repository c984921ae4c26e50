"""Names in a file choose nothing: not what is opened or downloaded, and not where anything is written."""

import os

import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import InputError, pictures
from tests.helpers import CLASSES, once, small_vae
from tests.test_files import NAMES
from tests.trust.hostile import read, write
from tests.trust.test_trust import with_config

pytestmark = once("names are the same everywhere")


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("dataset", ["mnist", "{private}", "../private"])
def test_the_data_set_that_a_file_names_is_not_opened(tmp_path, monkeypatch, dataset):
    """Nothing is read, cached or downloaded; tensorflow-datasets is not even imported."""
    private = tmp_path / "private"
    private.mkdir()
    Image.new("RGB", (8, 8)).save(private / "letter.png")
    os.utime(private / "letter.png", (0, 0))
    monkeypatch.chdir(private)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    name = dataset.format(private=private)
    vae = small_vae(conditioning="none")
    saved = keras_ae.open_model(keras_ae.save_model(vae, tmp_path / "evil.keras", {"dataset": name}))
    with pytest.raises(InputError, match=r"was trained on .*; name the data set to use with --dataset"):
        saved.load_dataset(cache_dir=tmp_path / "cache")
    assert everything(tmp_path) == ["evil.keras", "private", "private/letter.png"]
    (images,) = saved.load_dataset(str(private), cache_dir=tmp_path / "cache").test.arrays["images"]  # the user's word
    assert images.shape == (8, 8, 3)


@pytest.mark.parametrize("name", [name for name in NAMES if 0 < len(name) <= 200])
def test_a_class_name_reaches_no_other_folder(tmp_path, name):
    """Neither from the config of a model nor from its metadata."""
    good = read(keras_ae.save_model(small_vae(), tmp_path / "good.keras", {"class_names": CLASSES}))

    def rename(config):
        config["config"]["class_names"] = [name, *CLASSES[1:]]

    inside = tmp_path / "inside"
    inside.mkdir()
    evil = write(inside / "evil.keras", with_config(good, rename))
    rows = pictures.of_vae(keras_ae.open_model(evil), "samples", count=3)
    rows.save_each(inside / "out")
    rows.save(inside / "out.png")
    assert len(list((inside / "out").iterdir())) == 3
    assert sorted(path.name for path in inside.iterdir()) == ["evil.keras", "out", "out.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.keras", "inside"]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_an_image_reaches_no_other_folder(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    names = [f"{name}.png", f"a/{name}", name, f"b/{name}/{name}"]
    pictures.save_each(inside / "out", np.zeros((4, 2, 2, 3)), names)
    assert len([path for path in (inside / "out").rglob("*") if path.is_file()]) == 4
    assert [path.name for path in inside.iterdir()] == ["out"]
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


@pytest.mark.parametrize("name", ["", "x" * 10**6, "a" * 201])
def test_class_names_that_no_class_has_are_refused(tmp_path, name):
    good = read(keras_ae.save_model(small_vae(), tmp_path / "good.keras"))

    def rename(config):
        config["config"]["class_names"] = [name, *CLASSES[1:]]

    with pytest.raises(InputError, match=r"the class name .* is not possible; give a text of 1 to 200 letters"):
        keras_ae.load_model(write(tmp_path / "evil.keras", with_config(good, rename)))


def test_a_picture_that_no_one_can_see_is_refused():
    """As of a model with 10,000 classes."""
    with pytest.raises(InputError, match=r"a picture of .* pixels"):
        pictures.Rows(np.zeros((2000, 1, 8, 8, 1))).picture()


def test_a_picture_is_not_written_through_a_link(tmp_path):
    (tmp_path / "out.png").symlink_to(tmp_path / "elsewhere.png")
    assert pictures.new_path(tmp_path / "out.png") == tmp_path / "out-2.png"
