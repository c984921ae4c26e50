import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_ae import InputError, data
from tests.helpers import once


def load(name, tmp_path, **kwargs):
    return data.load(str(name), cache_dir=tmp_path / "cache", **kwargs)


@pytest.fixture
def folder(tmp_path, random):
    """Two classes of twelve images, 20 x 30 pixels, blue cats and red dogs; and two files that are no images."""
    for name, colour in (("cat", 2), ("dog", 0)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.zeros((20, 30, 3), "uint8")
            pixels[..., colour] = 100 + number
            suffix = ["png", "bmp", "webp"][number % 3]
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.{suffix}", lossless=True)
    (tmp_path / "pets" / "dog" / "broken.jpg").write_text("not an image")
    (tmp_path / "pets" / "notes.txt").write_text("a list")
    return tmp_path / "pets"


def test_a_folder_with_classes(tmp_path, folder):
    with pytest.warns(UserWarning, match=r"2 skipped in .*pets: dog/broken.jpg \(.*\); notes.txt \(not .bmp"):
        pets = load(folder, tmp_path)
    assert pets.class_names == ["cat", "dog"]
    assert pets.image_shape == (20, 30, 3)
    assert len(pets.train) + len(pets.validation) + len(pets.test) == 24
    for split in pets.splits.values():
        batch = split.batch(slice(None))
        np.testing.assert_array_equal(batch["image"][..., 2].mean((1, 2)) > 0.3, batch["label"] == 0)


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_a_folder_is_resized_and_cropped_and_read_anew_when_it_changes(tmp_path, folder):
    assert load(folder, tmp_path, image_size=(8, 8)).image_shape == (8, 8, 3)
    (folder / "dog" / "0.png").unlink()
    changed = load(folder, tmp_path, image_size=(8, 8))
    assert len(changed.train) + len(changed.validation) + len(changed.test) == 23


def test_a_flat_folder_of_grey_images_has_one_channel_and_no_classes(tmp_path):
    (tmp_path / "scans").mkdir()
    for number in range(4):
        Image.new("L", (6, 5), 40 * number).save(tmp_path / "scans" / f"{number}.png")
    scans = load(tmp_path / "scans", tmp_path)
    assert scans.image_shape == (5, 6, 1)
    assert scans.class_names == []


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images_can_be_restored_but_not_trained_on(tmp_path, count):
    (tmp_path / "few").mkdir()
    for number in range(count):
        Image.new("RGB", (7, 5)).save(tmp_path / "few" / f"{number}.png")
    dataset = load(tmp_path / "few", tmp_path)
    assert [len(split) for split in dataset.splits.values()] == [0, 0, count]
    assert dataset.image_shape == dataset.test.batch(slice(None))["image"].shape[1:] == (5, 7, 3)
    with pytest.raises(InputError, match="needs at least 3"):
        data.steps_per_epoch(dataset.train, 4)


def test_a_strangers_folder(tmp_path):
    """What can be read is read as it is meant; everything else is skipped, with its reason, in one line."""
    folder, secret = tmp_path / "odd", tmp_path / "secret.png"
    folder.mkdir()
    red = Image.new("RGB", (6, 4), (255, 0, 0))
    red.save(secret)
    good = [folder / "two\nlines.png", Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png"))]
    for file in good:
        red.save(file)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    red.rotate(90, expand=True).save(folder / "turned.png", exif=exif)
    red.convert("CMYK").save(folder / "print.jpg", quality=100)
    Image.new("RGB", (1, 1), (255, 0, 0)).save(folder / "dot.png")
    red.save(folder / "moving.webp", save_all=True, append_images=[Image.new("RGB", (6, 4))] * 3, lossless=True)
    Image.new("I;16", (6, 4)).save(folder / "deep.png")
    (folder / "empty.png").touch()
    Image.new("1", (10**4, 10**4)).save(folder / "bomb.png")
    (folder / "link.png").symlink_to(secret)
    (folder / "inside.png").symlink_to(folder / "dot.png")
    cut = bytearray(secret.read_bytes())
    cut[50] ^= 1  # within the pixels
    (folder / "flipped.png").write_bytes(cut)
    skipped = ["bomb.png (DecompressionBombWarning)", "deep.png (more than 8 bits a channel)"]
    skipped += [
        "empty.png (UnidentifiedImageError)",
        "flipped.png (SyntaxError)",
        "link.png (a link out of the folder)",
    ]
    with pytest.warns(UserWarning, match="skipped") as caught:
        odd = load(folder, tmp_path, image_size=(4, 6))
    assert str(caught[0].message) == f"5 skipped in {folder}: {'; '.join(skipped)}"
    images = np.concatenate([split.batch(slice(None))["image"] for split in odd.splits.values()])
    assert len(images) == 7
    np.testing.assert_allclose(images, np.broadcast_to([1.0, 0.0, 0.0], images.shape), atol=0.01)


def test_what_is_left_out_is_said_once_each(tmp_path):
    """Deeper files, other suffixes and empty classes with their reason; hidden ones are nobody's images."""
    for name in ("cat/1.png", "cat/2.png", "dog/3.png", "cat/more/9.png", "cat/.thumbs/1.png", ".cache/1.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "pets" / name)
    (tmp_path / "pets" / "empty").mkdir()
    (tmp_path / "pets" / "cat" / "x.tif").touch()
    (tmp_path / "pets" / "cat" / ".DS_Store").touch()
    os.mkfifo(tmp_path / "pets" / "pipe.png")
    with pytest.warns(UserWarning, match="skipped") as caught:
        pets = load(tmp_path / "pets", tmp_path)
    (message,) = {str(warning.message) for warning in caught}
    assert message.partition(": ")[2].split("; ") == [
        "cat/more/9.png (deeper than one folder)",
        "cat/x.tif (not .bmp, .jpeg, .jpg, .png, .webp)",
        "empty (no images)",
        "pipe.png (not a file)",
    ]
    assert pets.class_names == ["cat", "dog"]
    assert sum(map(len, pets.splits.values())) == 3


def test_long_lists_are_cut(tmp_path):
    for number in range(130):
        (tmp_path / f"{number:03}.txt").touch()
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=r"130 skipped .* 099.txt \(.*\); and 30 more$"):
        load(tmp_path, tmp_path.parent)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparency_is_drawn_on_white(tmp_path, mode):
    """Half of the first image is black and seen through; the second is black, and has no transparency."""
    alpha = Image.fromarray(np.repeat([[0], [255]], [4, 4], axis=0).astype("uint8").repeat(8, axis=1))
    black = Image.new("L" if mode in {"LA", "L"} else "RGB", (8, 8))
    (tmp_path / "logos").mkdir()
    if mode in {"RGBA", "LA"}:
        black.putalpha(alpha)
        black.save(tmp_path / "logos" / "1.png")
    else:  # a PNG that names its transparent colour
        grey = Image.composite(Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 7), alpha)
        clear = {"P": 7, "L": 7, "RGB": (7, 7, 7)}[mode]
        image = grey.convert(mode) if mode != "P" else Image.frombytes("P", (8, 8), grey.tobytes())
        image.putpalette([0] * 768) if mode == "P" else None
        image.save(tmp_path / "logos" / "1.png", transparency=clear)
    black.convert("L" if mode in {"LA", "L"} else "RGB").save(tmp_path / "logos" / "2.png")
    with pytest.warns(UserWarning, match="1 of 2 images in .* are transparent: drawn on white"):
        logos = load(tmp_path / "logos", tmp_path)
    first, second = sorted(logos.test.batch(slice(None))["image"], key=np.mean, reverse=True)
    assert first.shape == (8, 8, 1 if mode in {"LA", "L"} else 3)
    np.testing.assert_array_equal(first[:4], 1)
    np.testing.assert_array_equal(first[4:], 0)
    np.testing.assert_array_equal(second, 0)


@once("the file system")
def test_names_are_whole_however_long(tmp_path):
    """A kept name that was cut would write a result over another's."""
    folder = tmp_path / "long"
    (folder / ("c" * 250)).mkdir(parents=True)
    names = [f"{'c' * 250}/{'e' * 240}{number}.png" for number in range(2)]
    for name in names:
        Image.new("RGB", (4, 4)).save(folder / name)
    assert sorted(map(os.fsdecode, load(folder, tmp_path).test.arrays["names"])) == names


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_folders_that_cannot_be_used_are_named(tmp_path, folder):
    Image.new("RGB", (9, 9)).save(folder / "cat" / "other.png")
    with pytest.raises(InputError, match=r"different sizes; choose one, .* --image-size 64"):
        load(folder, tmp_path)
    Image.new("RGB", (9, 9)).save(folder / "beside.png")
    with pytest.raises(InputError, match="both beside and inside"):
        load(folder, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no readable images"):
        load(tmp_path / "empty", tmp_path)
    with pytest.raises(InputError, match="is a file"):
        load(folder / "notes.txt", tmp_path)
    with pytest.raises(InputError, match="0x64 is not possible"):
        load(folder, tmp_path, image_size=(0, 64))
