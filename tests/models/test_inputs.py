"""Arrays that come in: what is accepted at the edges, and what is not."""

import numpy as np
import pytest

from keras_ae import InputError
from keras_ae.models.inputs import checked_images, checked_known, checked_labels
from tests.helpers import CLASSES, batch

SHAPE = (8, 8, 3)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-5e-4, 1), (0, 1 + 5e-4)])
def test_arithmetic_may_round_beyond_0_and_1(low, high):
    images = np.linspace(low, high, 192).reshape(1, *SHAPE)
    checked = checked_images(images, SHAPE)
    assert checked.dtype == np.float32
    np.testing.assert_allclose(checked, images, atol=1e-7)


@pytest.mark.parametrize(("low", "high"), [(-2e-3, 1), (0, 1 + 2e-3)])
def test_another_range_is_refused(low, high):
    with pytest.raises(InputError, match=f"lie between {low:g} and {high:g}"):
        checked_images(np.linspace(low, high, 192).reshape(1, *SHAPE), SHAPE)


@pytest.mark.parametrize("shape", [(8, 8, 3), (0, 8, 8, 3), (1, 1, 8, 8, 3)])
def test_images_are_a_batch_that_is_not_empty(shape):
    with pytest.raises(InputError, match=r"this model takes \(n, 8, 8, 3\)"):
        checked_images(np.zeros(shape), SHAPE)


def test_missing_pixels_are_0_and_one_known_pixel_is_enough():
    images, mask = batch(2)["image"], np.zeros((2, 8, 8))
    mask[0, 7, 0] = mask[1, 2, 3] = 1
    known, four_axes = checked_known(np.where(mask[..., None] > 0, images, np.inf), mask, SHAPE)
    np.testing.assert_array_equal(known, images * mask[..., None].astype("float32"))
    np.testing.assert_array_equal(four_axes, mask[..., None])


@pytest.mark.parametrize(
    ("labels", "ids"),
    [
        ("b", [1, 1]),
        (["c", "a"], [2, 0]),
        (2, [2, 2]),
        ([0, 2], [0, 2]),
        (np.array(["a", "c"]), [0, 2]),
        (["b", 0], [1, 0]),
    ],
)
def test_labels_are_names_or_numbers_one_for_all_or_one_each(labels, ids):
    checked = checked_labels(labels, 2, CLASSES)
    assert checked.dtype == np.int32
    np.testing.assert_array_equal(checked, ids)
    checked[0] = 1  # an array of its own


@pytest.mark.parametrize("label", [-1, 3, 1.5, "d"])
def test_an_unknown_label_is_refused(label):
    with pytest.raises(InputError, match=f"unknown label '{label}'; known are a, b, c, or 0 to 2"):
        checked_labels([0, label], 2, CLASSES)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_as_many_labels_as_images(count):
    with pytest.raises(InputError, match=f"{count} labels for 3 images; give one for all or one each"):
        checked_labels([0] * count, 3, CLASSES)
