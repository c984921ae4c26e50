import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import InputError, data, get_task, pictures
from tests.helpers import CLASSES, batch, folder_with_masks, once, small_vae


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return data.load("shapes", cache_dir=tmp_path_factory.mktemp("cache"), limit=40, image_size=(8, 8))


def test_each_image_stands_in_its_place_in_its_colours():
    rows = np.zeros((2, 3, 32, 32, 3), "float32")
    for y, x in np.ndindex(2, 3):
        rows[y, x] = [y, x / 2, 0.2]
    picture = np.asarray(pictures.grid(rows))
    assert picture.shape == (2 * 66 + 12, 3 * 66 + 12, 3)
    for y, x in np.ndindex(2, 3):
        top, left = 6 + 66 * y, 6 + 66 * x
        tile = picture[top : top + 64, left : left + 64]
        assert (tile == np.rint([255 * y, 127.5 * x, 51])).all()
        assert (picture[top + 64 : top + 66, left : left + 64] == 255).all()


def test_labels_and_title_add_room_and_grey_becomes_rgb():
    rows = np.full((1, 2, 28, 28, 1), 0.5, "float32")
    plain, labelled = pictures.grid(rows), pictures.grid(rows, ["trouser"], "epoch 3")
    assert labelled.width > plain.width + 30
    assert labelled.height > plain.height + 10
    assert plain.getpixel((10, 10)) == (128, 128, 128)


def test_originals_stand_above_their_reconstructions():
    originals, decoded = np.ones((10, 8, 8, 3)), np.zeros((10, 8, 8, 3))
    picture = np.asarray(pictures.comparison({"original": originals, "decoded": decoded}).picture())
    column = picture[:, -70 + 30 - 6 - 64, 0]  # through an image of the last column but one
    assert len(picture) == 4 * 66 + 12
    np.testing.assert_array_equal([column[6 + 66 * row + 30] for row in range(4)], [255, 0, 255, 0])


def test_bands_are_filled_up_with_white():
    rows = pictures.comparison({"grey": np.ones((9, 4, 4, 1)), "colour": np.zeros((9, 4, 4, 3))}, "title")
    assert rows.images.shape == (4, 5, 4, 4, 3)
    assert rows.names == ["grey", "colour"] * 2
    assert np.isnan(rows.images[2:, -1]).all()
    assert not np.isnan(rows.images[:, :-1]).any()


def test_samples_are_those_of_the_model():
    vae = small_vae()
    rows = pictures.samples(vae, 5, ["c", 0], temperature=0.5, seed=3)
    assert rows.names == ["c", "a"]
    expected = vae.sample(6, [2, 2, 2, 0, 0, 0], 0.5, 3)
    np.testing.assert_array_equal(rows.images.reshape(expected.shape), expected)
    rows = pictures.samples(vae, 9, seed=3, same_latents=True)
    z = np.random.default_rng(3).standard_normal((3, 4), dtype="float32")
    for label, row in enumerate(rows.images):
        np.testing.assert_allclose(row, vae.decode(z, label), atol=1e-6)
    plain = small_vae(conditioning="none")
    np.testing.assert_array_equal(pictures.samples(plain, 64, seed=1).images[1], plain.sample(64, seed=1)[8:16])
    with pytest.raises(InputError, match="not conditional"):
        pictures.samples(plain, labels=["a"])


def test_reconstructions_stand_beside_their_originals_by_class():
    vae, images = small_vae(), batch(4)["image"]
    rows = pictures.reconstructions(vae, images, np.array([2, 0, 2, 2]))
    assert rows.names == ["c", "a"]
    assert rows.images.shape == (2, 6, 8, 8, 3)
    np.testing.assert_array_equal(rows.images[0, ::2], images[[0, 2, 3]])
    np.testing.assert_allclose(rows.images[1, 1], vae.reconstruct(images[1:2], [0])[0], atol=1e-6)
    assert np.isnan(rows.images[1, 2:]).all()


def test_what_a_vae_shows_of_images():
    vae, images, labels = small_vae(), batch(5)["image"], batch(5)["label"]
    rows = pictures.interpolations(vae, images, labels, steps=3).images
    assert rows.shape == (2, 3, 8, 8, 3)
    np.testing.assert_allclose(rows[1, 0], vae.reconstruct(images[1:2], labels[1:2])[0], atol=1e-6)
    with pytest.raises(InputError, match="two images or more"):
        pictures.interpolations(vae, images[:1], labels[:1])
    rows = pictures.traversals(vae, images, labels)
    assert sorted(rows.names) == ["z0", "z1", "z2", "z3"]
    known = np.ones((2, 8, 8, 1))
    known[:, 3:] = 0
    rows = pictures.completions(vae, images[:2], known, labels[:2], count=3)
    assert rows.images.shape == (2, 5, 8, 8, 3)
    assert rows.names == [CLASSES[label] for label in labels[:2]]
    np.testing.assert_array_equal(np.isnan(rows.images[:, 1]).all(-1), known[..., 0] == 0)
    np.testing.assert_array_equal(rows.images[:, 2:, :3], np.repeat(images[:2, None, :3], 3, axis=1))


@pytest.mark.parametrize("name", ["reconstruct", "denoise", "complete", "segment"])
def test_restored_images_come_last(shapes, name):
    task, model = get_task(name), keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4, task=name)
    named = pictures.restored(model, task, shapes, 3)
    inputs, target, *_ = task.take(shapes.test, slice(0, 3))
    expected = task.rows(inputs, target, keras_ae.restore_images(model, inputs["image"], mask=inputs.get("mask")))
    assert list(named) == list(expected)
    for row, images in expected.items():
        np.testing.assert_allclose(named[row], images, atol=1e-6)
    everything = pictures.restored(model, task, shapes, split="all")
    assert {len(images) for images in everything.values()} == {80}
    assert len(pictures.file_names(shapes, split="all")) == 80


def test_images_whose_truth_is_not_known_are_restored(tmp_path):
    (tmp_path / "own").mkdir()
    for number in range(3):
        Image.new("RGB", (9, 9), (80 * number, 0, 0)).save(tmp_path / "own" / f"{number}.png")
    own = data.load(str(tmp_path / "own"), cache_dir=tmp_path / "cache")
    segmenter = keras_ae.conv_autoencoder((9, 9, 3), 2, 4, width=4, task="segment", mask_classes=3)
    named = pictures.restored(segmenter, get_task("segment"), own, split="all")
    assert [images.shape for images in named.values()] == [(3, 9, 9, 3), (3, 9, 9, 1)]
    assert set(np.unique(list(named.values())[1])) <= {0, 0.5, 1}
    denoiser = keras_ae.conv_autoencoder((9, 9, 3), 2, 4, width=4, task="denoise")
    assert list(pictures.restored(denoiser, get_task("denoise", "none"), own)) == ["noisy", "denoised"]
    completer = keras_ae.conv_autoencoder((9, 9, 3), 2, 4, width=4, task="complete")
    with pytest.raises(InputError, match="has no masks"):
        pictures.restored(completer, get_task("complete", "masks"), own)


@once("files and their names")
def test_each_image_in_a_file(tmp_path):
    rows = pictures.comparison({"a": np.zeros((9, 4, 4, 1)), "b": np.ones((9, 4, 4, 1))})
    rows.save_each(tmp_path / "rows")
    names = {path.name for path in (tmp_path / "rows").iterdir()}
    assert len(names) == 18
    assert {"000_a_000.png", "003_b_003.png"} <= names
    pictures.save_each(tmp_path / "named", np.zeros((3, 4, 4, 3)), ["cats/a.png", "cats/a.jpg", "b.png"])
    written = {str(path.relative_to(tmp_path / "named")) for path in (tmp_path / "named").rglob("*.png")}
    assert written == {"cats/a.png", "cats/a.jpg.png", "b.png"}
    own = data.load(str(folder_with_masks(tmp_path / "own")), cache_dir=tmp_path / "cache")
    assert set(pictures.file_names(own, split="all")) == {f"{number}.png" for number in range(6)}
    assert pictures.new_path(tmp_path / "own") == tmp_path / "own-2"
