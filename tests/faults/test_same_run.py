"""Two runs are the same only if all of their files are."""

import shutil
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image

from keras_ae import callbacks
from keras_ae.trust import WEIGHTS
from tests.helpers import once, same_run, train_vae

pytestmark = once("files are the same everywhere")


def one_weight(folder):
    """In the model that nobody trains again."""
    with zipfile.ZipFile(folder / "best.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (folder / WEIGHTS).write_bytes(members[WEIGHTS])
    with h5py.File(folder / WEIGHTS, "r+") as weights:
        names = []
        weights.visit(lambda name: names.append(name) if isinstance(weights[name], h5py.Dataset) else None)
        weights[names[0]][...] = np.nextafter(weights[names[0]][...], np.float32(9))
    with zipfile.ZipFile(folder / "best.keras", "w") as archive:
        for name, content in {**members, WEIGHTS: (folder / WEIGHTS).read_bytes()}.items():
            archive.writestr(name, content)
    (folder / WEIGHTS).unlink()


def one_pixel(folder):
    picture = next(folder.glob("epoch_002*.png"))
    with Image.open(picture) as image:
        image.putpixel((1, 1), (9, 9, 9))
        image.save(picture)


def one_more_file(folder):
    (folder / ".model.tmp.keras").touch()


def garbage(folder):
    (folder / "best.keras").write_bytes(b"garbage")


@pytest.mark.parametrize("change", [one_weight, one_pixel, one_more_file, garbage])
def test_what_differs_is_seen(tmp_path, dataset, change):
    def pictures(model, title):
        return {"noise": Image.new("RGB", (9, 9))}

    (tmp_path / "whole").mkdir()
    train_vae(dataset, tmp_path / "whole", callbacks=[callbacks.ImageGrids(tmp_path / "whole", pictures)])
    shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    same_run(tmp_path / "whole", tmp_path / "copy")
    change(tmp_path / "copy")
    with pytest.raises((AssertionError, zipfile.BadZipFile)):
        same_run(tmp_path / "whole", tmp_path / "copy")
