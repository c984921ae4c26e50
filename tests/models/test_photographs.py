"""Images of any size through models that were trained on one."""

from functools import partial

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, PhotographRestorer, conv_autoencoder, data, restore_images
from keras_ae.models import photographs
from keras_ae.pictures import restoration
from tests.helpers import once, set_weights


def model(shape=(8, 8, 3), task="denoise", **kwargs):
    settings = {"code_size": 2, "code_channels": 4, "skip_connections": True, "width": 4} | kwargs
    made = conv_autoencoder(shape, task=task, **settings)
    set_weights(made.trainable_weights)
    return made


@pytest.mark.parametrize("task", ["denoise", "complete", "reconstruct"])
@pytest.mark.parametrize("blocks", [0, 1])
def test_an_image_of_whole_steps_is_what_a_model_of_that_size_makes_of_it(task, blocks, random):
    small, large = model(task=task, blocks=blocks), model((64, 64, 3), task, code_size=16, blocks=blocks)
    assert [w.shape for w in small.weights] == [w.shape for w in large.weights]
    image = random.random((64, 64, 3), "float32")
    mask = (random.random((64, 64)) < 0.7).astype("float32") if task == "complete" else None
    masks = None if mask is None else mask[None]
    expected = restore_images(large, image[None], mask=masks)[0]
    np.testing.assert_allclose(PhotographRestorer(small)(image, mask), expected, atol=1e-5)
    mirrored = restore_images(large, image[None], mask=masks, mirrored=True)[0]
    np.testing.assert_allclose(PhotographRestorer(small)(image, mask, mirrored=True), mirrored, atol=1e-5)


def test_noise_may_leave_the_range_where_that_is_said(random):
    denoiser = model((32, 32, 3), code_size=8)
    noisy = random.normal(0.5, 1, (2, 32, 32, 3)).astype("float32")
    expected = np.clip(denoiser.predict_on_batch({"image": noisy}), 0, 1)
    broken = np.where(np.arange(2)[:, None, None, None] == 1, np.float32(np.nan), noisy)
    for restore in (partial(restore_images, denoiser), PhotographRestorer(denoiser).restore):
        np.testing.assert_allclose(restore(noisy, unclipped=True), expected, atol=1e-5)
        with pytest.raises(InputError, match="the images lie between"):
            restore(noisy)
        with pytest.raises(InputError, match="image 1 holds numbers that are not finite"):
            restore(broken, unclipped=True)


def test_a_side_that_was_rounded_up_in_training_is_none_here(random):
    odd, even = model((9, 11, 3), code_size=3), model((32, 32, 3), code_size=8)
    assert any(isinstance(layer, keras.layers.Cropping2D) for layer in odd.get_layer("decoder").layers)
    image = random.random((32, 32, 3), "float32")
    np.testing.assert_allclose(PhotographRestorer(odd)(image), restore_images(even, image[None])[0], atol=1e-5)


def test_other_sizes_are_mirrored_at_their_lower_and_right_edges(random):
    image = random.random((37, 50, 3), "float32")
    padded = np.concatenate([image, image[::-1][:27]], axis=0)
    padded = np.concatenate([padded, padded[:, ::-1][:, :14]], axis=1)
    expected = restore_images(model((64, 64, 3), code_size=16), padded[None])[0]
    np.testing.assert_allclose(PhotographRestorer(model())(image), expected[:37, :50], atol=1e-5)


def test_greys_through_colours_and_colours_through_greys(random):
    grey, colours = random.random((32, 32, 1), "float32"), random.random((32, 32, 3), "float32")
    of_colours, of_greys = PhotographRestorer(model()), PhotographRestorer(model((8, 8, 1)))
    np.testing.assert_allclose(of_colours(grey)[..., 0], of_colours(np.repeat(grey, 3, -1)).mean(-1), atol=1e-5)
    found = of_greys(colours)
    assert found.shape == colours.shape
    for channel in range(3):
        one = slice(channel, channel + 1)
        np.testing.assert_allclose(found[..., one], of_greys(colours[..., one]), atol=1e-5)
    assert of_greys(grey).shape == grey.shape


def test_several_of_one_size_are_each_what_it_is_alone(random):
    images, masks = random.random((4, 37, 20, 3), "float32"), (random.random((4, 37, 20)) < 0.7).astype("float32")
    for restorer in (PhotographRestorer(model(task="complete")), PhotographRestorer(model((8, 8, 1), "complete"))):
        together = restorer.restore(images, masks)
        for number in range(4):
            np.testing.assert_allclose(together[number], restorer(images[number], masks[number]), atol=1e-5)


def test_photographs_of_one_size_go_together():
    shapes = [(8, 8, 3)] * 5 + [(8, 8, 1)] + [(400, 400, 3)] * 2 + [(300, 300, 3)]
    given = [data.folders.Photograph(str(n), n, np.zeros(shape), None) for n, shape in enumerate(shapes)]
    groups = [[photograph.number for photograph in group] for group in restoration._of_one_size(given)]
    assert groups == [[0, 1, 2, 3, 4], [5], [6], [7], [8]]
    many = [data.folders.Photograph("", n, np.zeros((256, 128, 1)), None) for n in range(9)]
    assert [len(group) for group in restoration._of_one_size(many)] == [4, 4, 1]


def test_tiles_are_blended_into_what_the_whole_is(random, monkeypatch):
    """Away from their edges, which they do not see beyond, they are the whole; where two overlap they are weighted."""
    restorer, image = PhotographRestorer(model()), random.random((96, 160, 3), "float32")
    whole = restorer(image)
    monkeypatch.setattr(photographs, "TILE", 64)
    monkeypatch.setattr(photographs, "OVERLAP", 32)
    assert photographs._starts(160) == [0, 32, 64, 96]
    assert photographs._starts(64) == [0]
    ramp = photographs._ramp(64)
    np.testing.assert_allclose(ramp[:32] + ramp[32:], 1, atol=1 / 32)
    assert ramp[0] == 1 / 64
    tiled = restorer(image)
    error = np.abs(tiled - whole)
    assert error.max() < 0.3 * np.abs(whole - image).max()
    assert error.mean() < 0.03 * np.abs(whole - image).mean()


@once("messages are the same everywhere")
def test_what_has_one_size_or_is_no_image_is_refused():
    labelled = model(num_classes=2, conditioning="decoder")
    with pytest.raises(InputError, match="takes labels, which say nothing of a part of a photograph"):
        PhotographRestorer(labelled)
    with pytest.raises(InputError, match="this model is of images of one size: each place of its code"):
        PhotographRestorer(conv_autoencoder((16, 16, 3), 2, 128, width=4))
    completer = PhotographRestorer(model(task="complete"))
    image = np.zeros((20, 20, 3))
    for call, message in (
        (lambda: PhotographRestorer(keras_ae.conv_vae((8, 8, 3), 2, width=4)), "restores no photographs; give an auto"),
        (lambda: completer(image), "this model takes a mask"),
        (lambda: completer(image, np.zeros((20, 20))), "all pixels of image 0 are missing"),
        (lambda: completer(image, np.ones((20, 21))), "the mask has the shape"),
        (lambda: PhotographRestorer(model())(image, np.ones((20, 20))), "this model takes no mask"),
        (lambda: PhotographRestorer(model())(np.zeros((20, 20, 2))), "restores 3 channels, and the image has 2"),
        (lambda: PhotographRestorer(model())(np.full((20, 20, 3), 2.0)), "the images lie between 2 and 2"),
    ):
        with pytest.raises(InputError, match=message):
            call()


@once("messages are the same everywhere")
def test_a_hole_as_large_as_a_tile_is_refused(monkeypatch):
    monkeypatch.setattr(photographs, "TILE", 32)
    monkeypatch.setattr(photographs, "OVERLAP", 8)
    mask = np.ones((96, 96))
    mask[20:, 20:] = 0
    restorer = keras_ae.PhotographRestorer(model(task="complete"))
    with pytest.raises(InputError, match="a hole is as large as 32x32 pixels"):
        restorer(np.zeros((96, 96, 3)), mask)
    with pytest.raises(InputError, match="a hole is as large as 32x32 pixels"):  # of one image of two
        restorer.restore(np.zeros((2, 96, 96, 3)), np.stack([np.ones((96, 96)), mask]))


def photographs_in(folder, **kwargs):
    keras_ae.pictures.save_each(folder, **kwargs)
    return folder


def test_noise_out_of_the_range_reaches_photographs_and_crops(random, tmp_path):
    images = random.random((3, 8, 8, 3), "float32")
    folder = photographs_in(tmp_path / "own", images=images, names=["a.png", "b.png", "c.png"])
    task = keras_ae.get_task("denoise", "unclipped_gaussian:0.5")
    (first, *_), denoiser = data.photographs(folder), model()
    batch = {"image": first.image[None]}
    noisy = task.examples(batch, np.array([first.number]))[0]["image"]
    assert noisy.min() < -0.1
    (restored, *_) = restoration.restored_photographs(denoiser, task, data.photographs(folder))
    np.testing.assert_allclose(restored, PhotographRestorer(denoiser)(noisy[0], unclipped=True), atol=1e-5)
    rows = restoration.restored(denoiser, task, data.load(folder, cache_dir=tmp_path / "cache"), split="all")
    assert rows["noisy"].min() < -0.1


def test_masks_beside_photographs_are_for_what_completes(tmp_path):
    mask = np.zeros((20, 30, 1))
    mask[:5] = 1
    images = [np.ones((20, 30, 3)), mask, np.ones((20, 30, 3))]
    folder = photographs_in(tmp_path / "own", images=images, names=["a.png", "a_mask.png", "b.png"])
    assert [(one.name, one.mask) for one in data.photographs(folder)] == [("a.png", None), ("b.png", None)]
    with pytest.warns(UserWarning, match="no mask beside it"):
        (one,) = data.photographs(folder, masks=True)
    assert (one.name, (one.mask > 0).sum()) == ("a.png", 150)


@pytest.mark.parametrize(
    ("mask", "message"),
    {
        "another size": (np.zeros((20, 31, 1)), "a_mask.png is 20x31 and its image 20x30; make them equal"),
        "all missing": (np.ones((20, 30, 1)), "a_mask.png has no black"),
    }.values(),
)
def test_a_mask_that_does_not_fit_is_named_before_anything_is_written(mask, message, tmp_path):
    images = [np.ones((20, 30, 3)), mask]
    folder = photographs_in(tmp_path / "own", images=images, names=["a.png", "a_mask.png"])
    with pytest.raises(InputError, match=message):
        data.photographs(folder, masks=True)
