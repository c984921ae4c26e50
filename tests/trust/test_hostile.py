"""Hostile files do harm where nothing looks at them, and are refused before anything in them is built."""

import keras
import pytest

import keras_ae
from keras_ae import InputError
from tests.helpers import once, small_vae
from tests.trust import hostile

pytestmark = once("a refused file is not built on any backend")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    vae = small_vae(conditioning="none")
    return hostile.read(keras_ae.save_model(vae, tmp_path_factory.mktemp("good") / "vae.keras"))


@pytest.mark.parametrize("name", hostile.KINDS)
def test_a_hostile_file_does_harm_and_is_refused(members, tmp_path, name):
    kind = hostile.KINDS[name]
    path = hostile.make(name, members, tmp_path)
    with keras.saving.custom_object_scope(hostile.strangers(tmp_path)):
        with pytest.raises(InputError, match=kind.reason):
            keras_ae.load_model(path, memory=hostile.LIMIT)
        assert not (tmp_path / "canary").exists()
        assert hostile.seen(name, path, tmp_path) == kind.harm


def test_a_harmless_file_does_no_harm(members, tmp_path):
    path = hostile.write(tmp_path / "vae.keras", members)
    assert keras_ae.load_model(path, memory=hostile.LIMIT).latent_dim == 4
    assert hostile.seen("none", path, tmp_path) == "nothing"
