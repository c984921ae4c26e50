import importlib
import itertools
import json
import os
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_ae import InputError, conv_autoencoder, data, get_task
from keras_ae.data.catalog import VALIDATION_FRACTION
from keras_ae.data.shapes import CLASS_NAMES, FACTORS, draw
from tests.helpers import set_weights, small_vae


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


def load(name, tmp_path, **kwargs):
    return data.load(str(name), cache_dir=tmp_path / "cache", **kwargs)


def test_shapes_have_labels_masks_and_known_factors(tmp_path):
    shapes = load("shapes", tmp_path, limit=100)
    assert shapes.image_shape == (32, 32, 3)
    assert shapes.class_names == CLASS_NAMES
    assert len(shapes.train) + len(shapes.validation) == len(shapes.test) == 100
    arrays = shapes.train.arrays
    assert arrays["masks"].shape == (100, 32, 32, 1)
    assert arrays["factors"].shape == (100, len(FACTORS))
    # Outside the mask lies the ground, whose grey is the factor.
    image, mask, factors = arrays["images"][3], arrays["masks"][3, ..., 0], arrays["factors"][3]
    np.testing.assert_allclose(image[mask == 0] / 255, factors[5], atol=0.003)
    rows, columns = np.nonzero(mask > 127)
    circle = arrays["labels"][3] == 0
    assert np.hypot(columns.mean() - 15.5 - 32 * factors[0], rows.mean() - 15.5 - 32 * factors[1]) < (
        0.5 if circle else 3
    )


def test_a_circle_covers_its_area_and_rotation_turns_a_square():
    factors = np.array([[0, 0, 0.3, 0, 0, 0], [0, 0, 0.3, np.pi / 2, 0, 0]])
    _, masks = draw(np.array([0, 0]), factors, 64, 64)
    np.testing.assert_allclose(masks.sum((1, 2, 3)) / 255, np.pi * (0.85 * 0.3 * 64) ** 2, rtol=0.01)
    _, squares = draw(np.array([1, 1]), factors, 64, 64)
    np.testing.assert_allclose(squares[0].astype(int), squares[1], atol=1)


def test_shapes_are_deterministic_and_a_limit_is_a_prefix(tmp_path):
    small, large = load("shapes", tmp_path, limit=30), load("shapes", tmp_path, limit=40)
    np.testing.assert_array_equal(small.test.arrays["images"], large.test.arrays["images"][:30])
    assert not np.array_equal(small.test.arrays["images"][:30], small.train.arrays["images"][:30])


def test_shapes_draw_any_size(tmp_path):
    assert load("shapes", tmp_path, limit=10, image_size=(45, 61)).image_shape == (45, 61, 3)


def test_validation_is_a_part_of_train_and_the_splits_share_no_image(tmp_path):
    shapes = load("shapes", tmp_path, limit=1000)
    train, validation = set(shapes.train.indices), set(shapes.validation.indices)
    assert 0.6 * VALIDATION_FRACTION < len(validation) / 1000 < 1.4 * VALIDATION_FRACTION
    assert not train & validation
    assert train | validation == set(range(1000))
    # An image stays in its split when the limit changes.
    assert validation & set(range(300)) == set(load("shapes", tmp_path, limit=300).validation.indices)


def test_the_second_opening_reads_and_does_not_build(tmp_path, monkeypatch):
    load("shapes", tmp_path, limit=50)
    monkeypatch.setattr("keras_ae.data.shapes.draw", None)
    again = load("shapes", tmp_path, limit=50)
    assert isinstance(again.train.arrays["images"], np.memmap)


@pytest.mark.parametrize("damage", ["truncate", "flip", "no meta", "bad meta", "no array"])
def test_a_damaged_cache_is_built_anew(tmp_path, damage):
    expected = np.array(load("shapes", tmp_path, limit=50).train.arrays["images"])
    (entry,) = (tmp_path / "cache").iterdir()
    file = entry / "train_images.bin"
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-7])
    elif damage == "flip":
        content[1000] ^= 4
        file.write_bytes(content)
        later = time.time() + 5
        os.utime(file, (later, later))
    elif damage == "no meta":
        (entry / "meta.json").unlink()
    elif damage == "bad meta":
        (entry / "meta.json").write_text(json.dumps({"key": 3})[:-2])
    else:
        file.unlink()
    np.testing.assert_array_equal(load("shapes", tmp_path, limit=50).train.arrays["images"], expected)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [entry.name]


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(InputError, match="--cache-dir"):
        load("shapes", tmp_path, limit=5)


def test_a_folder_with_classes(tmp_path, folder):
    with pytest.warns(UserWarning, match=r"2 files in .* skipped: broken.jpg \(.*\); notes.txt"):
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
    for number in range(count):
        Image.new("RGB", (7, 5)).save(tmp_path / f"{number}.png")
    dataset = load(tmp_path, tmp_path / "cache")
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
    assert str(caught[0].message) == f"5 files in {folder} skipped: {'; '.join(skipped)}"
    images = np.concatenate([split.batch(slice(None))["image"] for split in odd.splits.values()])
    assert len(images) == 7
    np.testing.assert_allclose(images, np.broadcast_to([1.0, 0.0, 0.0], images.shape), atol=0.01)


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


def test_training_batches_depend_on_seed_and_epoch_alone(tmp_path):
    split = load("shapes", tmp_path, limit=50).train
    steps = data.steps_per_epoch(split, 16)
    assert steps == 3

    def epochs(**kwargs):
        stream = iter(data.training_batches(split, 16, endless=True, **kwargs))
        return [[np.array(next(stream)["image"]) for _ in range(steps)] for _ in range(3)]

    first = epochs(seed=4)
    np.testing.assert_array_equal(first, epochs(seed=4))
    np.testing.assert_array_equal(first[1:], epochs(seed=4, epoch=1)[:2])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, epochs(seed=5))
    seen = np.concatenate(first[0]).reshape(48, -1)
    assert len(np.unique(seen, axis=0)) == 48  # no image twice in an epoch


def test_flip_mirrors_about_half_of_the_images_anew_each_epoch(tmp_path):
    split = load("shapes", tmp_path, limit=200).train
    plain, flipped = (
        iter(data.training_batches(split, 190, seed=1, flip=flip, endless=True)) for flip in (False, True)
    )
    chosen = []
    for _ in range(2):
        image, mirrored = np.array(next(plain)["image"]), np.array(next(flipped)["image"])
        same = (image == mirrored).all((1, 2, 3))
        np.testing.assert_array_equal(mirrored[~same], image[~same][:, :, ::-1])
        assert 60 < same.sum() < 130
        chosen.append(same)
    assert not np.array_equal(*chosen)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="tf.data makes batches on the host")
def test_batches_made_where_a_gpu_keeps_the_images_are_the_same(tmp_path, monkeypatch):
    """Here on a CPU, by the same code."""
    split = load("shapes", tmp_path, limit=100, image_size=(8, 8)).train
    backend = importlib.import_module(f"keras_ae.backends.{keras.backend.backend()}")

    def on_device(images, labels, rows):
        return backend._resident(images[rows], labels[rows])

    for flip in (False, True):
        host = data.training_batches(split, 16, seed=1, flip=flip, endless=True)
        with monkeypatch.context() as patch:
            patch.setattr("keras_ae.backends.on_device", on_device)
            device = data.training_batches(split, 16, seed=1, flip=flip, endless=True)
        for expected, batch in itertools.islice(zip(host, device, strict=True), 8):  # into the second epoch
            assert not isinstance(batch["image"], np.ndarray)
            for name in expected:
                np.testing.assert_array_equal(np.array(batch[name]), expected[name])
    losses = []
    for batches in (host, device):
        vae = small_vae(conditioning="none")
        vae.compile("adam")
        losses.append(vae.fit(batches, steps_per_epoch=4, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def unconditional_vae():
    return small_vae(conditioning="none")


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras's default is not looked at
@pytest.mark.parametrize("model", [unconditional_vae, lambda: conv_autoencoder((8, 8, 3), 2, 4, width=4)])
def test_fit_ends_without_a_number_of_steps_and_sees_each_epochs_own_order(tmp_path, model):
    split = load("shapes", tmp_path, limit=100, image_size=(8, 8)).train
    task = None if model is unconditional_vae else get_task("reconstruct")
    weights = []
    for arguments in ({}, {"endless": True}):
        trained = model()
        set_weights(trained.weights)
        trained.compile("sgd", **({} if task is None else {"loss": "mse"}))
        batches = data.training_batches(split, 16, seed=3, task=task, **arguments)
        steps = {"steps_per_epoch": data.steps_per_epoch(split, 16), "shuffle": False} if arguments else {}
        trained.fit(batches, epochs=3, verbose=0, **steps)
        weights.append(trained.get_weights())
    for finite, endless in zip(*weights, strict=True):
        np.testing.assert_array_equal(finite, endless)


def test_evaluation_batches_are_all_images_in_order_more_than_once(tmp_path):
    split = load("shapes", tmp_path, limit=50).test
    batches = data.evaluation_batches(split, 16)
    for _ in range(2):
        images = np.concatenate([np.array(batch["image"]) for batch in batches])
        np.testing.assert_allclose(images, split.arrays["images"] / np.float32(255), atol=1e-7)
    label = np.array(next(iter(batches))["label"])
    np.testing.assert_array_equal(label, split.arrays["labels"][:16])


def test_a_batch_larger_than_the_data_is_the_data(tmp_path):
    split = load("shapes", tmp_path, limit=20).train
    assert data.steps_per_epoch(split, 64) == 1
    assert len(next(iter(data.training_batches(split, 64)))["label"]) == 19
