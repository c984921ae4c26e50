import numpy as np
import pytest

from keras_ae import InputError
from keras_ae.data.corruption import KINDS, Corruption, corrupt, parse_corruptions

IMAGES = np.full((200, 16, 12, 3), 0.5, "float32")
INDICES = np.arange(200)


def test_each_image_depends_on_seed_epoch_and_index_alone():
    kinds = parse_corruptions("gaussian:0.1-0.3,salt_and_pepper:0.2")
    whole, _ = corrupt(IMAGES, kinds, INDICES, seed=3, epoch=1)
    part, _ = corrupt(IMAGES[5:8], kinds, INDICES[5:8], seed=3, epoch=1)
    np.testing.assert_array_equal(whole[5:8], part)
    for other in ({"seed": 4, "epoch": 1}, {"seed": 3, "epoch": 2}):
        assert (corrupt(IMAGES, kinds, INDICES, **other)[0] != whole).any(axis=(1, 2, 3)).all()


def test_gaussian_noise_has_its_deviation():
    noisy, known = corrupt(IMAGES, parse_corruptions("gaussian:25/255"), INDICES)
    assert noisy.std() == pytest.approx(25 / 255, rel=0.01)
    assert noisy.dtype == np.float32
    assert known.shape == (200, 16, 12, 1)
    assert (known == 1).all()
    spreads = corrupt(IMAGES, parse_corruptions("gaussian:0.02-0.12"), INDICES)[0].std((1, 2, 3))
    assert spreads.min() < 0.03
    assert spreads.max() > 0.11


def test_noise_stays_in_the_range_of_images():
    noisy, _ = corrupt(IMAGES, parse_corruptions("gaussian:0.9"), INDICES)
    assert (noisy.min(), noisy.max()) == (0, 1)
    unclipped, _ = corrupt(IMAGES, parse_corruptions("unclipped_gaussian:0.9"), INDICES)
    assert (unclipped - IMAGES).std() == pytest.approx(0.9, rel=0.01)
    np.testing.assert_array_equal(unclipped.clip(0, 1), noisy)


def test_salt_and_pepper_hits_its_share_of_whole_pixels():
    noisy, known = corrupt(IMAGES, parse_corruptions("salt_and_pepper:0.3"), INDICES)
    hit = (noisy != 0.5).all(-1)
    assert hit.mean() == pytest.approx(0.3, abs=0.01)
    assert noisy[hit].mean() == pytest.approx(0.5, abs=0.02)
    assert set(np.unique(noisy)) == {0, 0.5, 1}
    assert (known == 1).all()


HIDING = {"block:5": 25, "block:0.5": 36, "centre:4": 16, "half": 96}


@pytest.mark.parametrize("text", HIDING)
def test_missing_pixels_are_known_and_empty(text):
    hidden, known = corrupt(IMAGES, parse_corruptions(text), INDICES)
    assert known.shape == (200, 16, 12, 1)
    np.testing.assert_array_equal((known == 0).sum((1, 2, 3)), HIDING[text])
    np.testing.assert_array_equal(hidden, IMAGES * known)
    places = len(np.unique(known, axis=0))
    assert places == 1 if text == "centre:4" else places > 3


def test_random_pixels_go_missing_at_their_rate():
    _, known = corrupt(IMAGES, parse_corruptions("pixels:0.3"), INDICES)
    assert (known == 0).mean() == pytest.approx(0.3, abs=0.01)


def test_a_pixel_stays_of_the_smallest_image():
    _, known = corrupt(IMAGES[:, :1, :2], parse_corruptions("pixels:0.99"), INDICES)
    assert (known.sum((1, 2, 3)) >= 1).all()


def test_several_corruptions_take_turns_at_random():
    _, known = corrupt(IMAGES, parse_corruptions("centre:4, half"), INDICES)
    missing = (known == 0).sum((1, 2, 3))
    assert set(missing) == {16, 96}
    assert 60 < (missing == 16).sum() < 140


MISTAKES = [
    ("blur:2", "known are gaussian, unclipped_gaussian, salt_and_pepper"),
    ("gaussian", "needs a number"),
    ("gaussian:-0.1", "must be above 0"),
    ("gaussian:0", "the standard deviation must be above 0$"),
    ("gaussian:0.3-0.1", "is not possible"),
    ("gaussian:x", "needs a number"),
    ("pixels:1", "must be above 0 and below 1"),
    ("salt_and_pepper:30", "must be above 0 and below 1"),
    ("half:0.3", "takes no number"),
    ("gaussian:25/0", "needs a number"),
    ("block:0.5-4", "mixes shares of a side"),
    ("block:0.5-1", "mixes shares of a side"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes_say_what_is_accepted(text, message):
    with pytest.raises(InputError, match=message):
        parse_corruptions(text)


def test_a_block_must_leave_something():
    for text in ("block:12", "centre:20"):
        with pytest.raises(InputError, match="stay below 12"):
            parse_corruptions(text)[0].check((16, 12, 3))
    assert set(KINDS) == {"gaussian", "unclipped_gaussian", "salt_and_pepper", "block", "centre", "half", "pixels"}


def missing(text, height, width) -> set:
    """The sets of missing places (row, column) that 200 images have."""
    images = np.ones((200, height, width, 1), "float32")
    _, known = corrupt(images, parse_corruptions(text), INDICES)
    return {tuple(map(tuple, np.argwhere(mask[..., 0] == 0))) for mask in known}


def rectangle(rows, columns) -> tuple:
    return tuple((row, column) for row in rows for column in columns)


def test_a_block_is_anywhere_in_the_image():
    corners = {rectangle(range(y, y + 2), range(x, x + 2)) for y in (0, 1) for x in (0, 1, 2)}
    assert missing("block:2", 3, 4) == corners


def test_a_centre_is_in_the_middle():
    assert missing("centre:4", 16, 12) == {rectangle(range(6, 10), range(4, 8))}
    assert missing("centre:3", 8, 6) == {rectangle(range(2, 5), range(1, 4))}


def test_a_half_is_one_of_four_and_never_more_than_half():
    assert missing("half", 7, 5) == {
        rectangle(range(3), range(5)),
        rectangle(range(4, 7), range(5)),
        rectangle(range(7), range(2)),
        rectangle(range(7), range(3, 5)),
    }


@pytest.mark.parametrize(("text", "side"), [("0.01", 1), ("1", 1), ("2", 2), ("0.3", 2), ("0.99", 6), ("2.4", 2)])
def test_a_side_is_in_pixels_or_below_1_a_share_of_the_shorter_side(text, side):
    assert missing(f"centre:{text}", 9, 6) == {rectangle(range(*middle(9, side)), range(*middle(6, side)))}


def middle(length, side) -> tuple:
    return (length - side) // 2, (length - side) // 2 + side


def test_the_last_pixel_of_an_image_stays():
    assert missing("pixels:0.999999", 1, 1) == {()}


STRENGTHS = {
    "gaussian:0.1": (0.1, 0.1),
    "gaussian:0-0.2": (0.0, 0.2),
    "gaussian:5/255-1/4": (5 / 255, 0.25),
    "gaussian: 1e-2 - 0.5": (0.01, 0.5),
    "gaussian:2": (2.0, 2.0),
    "pixels:0.2-0.8": (0.2, 0.8),
    "block:0.1-0.9": (0.1, 0.9),
    "block:1-4": (1.0, 4.0),
}


@pytest.mark.parametrize("text", STRENGTHS)
def test_strengths_are_numbers_fractions_and_ranges(text):
    assert parse_corruptions(text) == [Corruption(text.partition(":")[0], *STRENGTHS[text])]


def test_strengths_are_drawn_evenly_from_their_range():
    _, known = corrupt(IMAGES, parse_corruptions("pixels:0.2-0.8"), INDICES)
    rates = np.sort((known == 0).mean((1, 2, 3)))
    np.testing.assert_allclose(rates, np.linspace(0.2, 0.8, 200), atol=0.08)


def test_a_strength_that_is_not_drawn_and_a_kind_that_is_not_chosen_take_no_random_numbers():
    """So that what a seed gives stays what it was."""
    for text in ("gaussian:0.1", "half", "pixels:0.4"):
        (kind,) = parse_corruptions(text)
        expected = [kind(image, np.random.default_rng([5, 2, index])) for index, image in enumerate(IMAGES[:3])]
        noisy, known = corrupt(IMAGES[:3], [kind], INDICES[:3], seed=5, epoch=2)
        if kind.hides:
            np.testing.assert_array_equal(known, expected)
            np.testing.assert_array_equal(noisy, IMAGES[:3] * known)
        else:
            np.testing.assert_array_equal(noisy, expected)
            np.testing.assert_array_equal(known, np.ones((3, 16, 12, 1)))
    assert parse_corruptions("half") == [Corruption("half", 0.0, 0.0)]
    random = np.random.default_rng(3)
    expected = IMAGES[0] + np.float32(0.1) * np.random.default_rng(3).standard_normal((16, 12, 3), dtype="float32")
    np.testing.assert_array_equal(Corruption("gaussian", 0.1, 0.1)(IMAGES[0], random), np.clip(expected, 0, 1))


def test_the_first_epoch_and_seed_are_0():
    task = parse_corruptions("gaussian:0.1")
    np.testing.assert_array_equal(
        corrupt(IMAGES[:2], task, INDICES[:2])[0], corrupt(IMAGES[:2], task, INDICES[:2], seed=0, epoch=0)[0]
    )


def test_only_blocks_are_checked_against_the_image():
    for text in ("block:11", "block:0.9", "half", "gaussian:20", "pixels:0.9"):
        parse_corruptions(text)[0].check((16, 12, 3))
    with pytest.raises(InputError, match=r"centre of side 0.99 .* images of 16x12; its side must stay below 12"):
        parse_corruptions("centre:0.99")[0].check((16, 12, 3))
