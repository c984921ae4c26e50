"""Noise and missing pixels, the same for the same (seed, epoch, index) on every machine and backend.

To add one: a function here and its entry in `KINDS`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_ae.errors import InputError, one_of


def _gaussian(image, sigma, random):
    noisy = _unclipped_gaussian(image, sigma, random)
    return noisy.clip(0, 1, out=noisy)


def _unclipped_gaussian(image, sigma, random):
    noisy = random.standard_normal(image.shape, dtype="float32")
    noisy *= np.float32(sigma)
    noisy += image
    return noisy


def _salt_and_pepper(image, rate, random):
    hit = random.random((*image.shape[:2], 1)) < rate
    return np.where(hit, random.integers(0, 2, hit.shape), image).astype("float32")


def _block(image, side, random):
    height, width = image.shape[:2]
    side = _pixels(side, image.shape)
    return _without(image, random.integers(height - side + 1), random.integers(width - side + 1), side, side)


def _centre(image, side, random):
    height, width = image.shape[:2]
    side = _pixels(side, image.shape)
    return _without(image, (height - side) // 2, (width - side) // 2, side, side)


def _half(image, _, random):
    height, width = image.shape[:2]
    top, left, rows, columns = [
        (0, 0, height // 2, width),
        (height - height // 2, 0, height // 2, width),
        (0, 0, height, width // 2),
        (0, width - width // 2, height, width // 2),
    ][random.integers(4)]
    return _without(image, top, left, rows, columns)


def _random_pixels(image, rate, random):
    draw = random.random((*image.shape[:2], 1))
    return (draw >= min(rate, draw.max())).astype("float32")  # at least one pixel stays


def _without(image, top, left, rows, columns):
    known = np.ones((*image.shape[:2], 1), "float32")
    known[top : top + rows, left : left + columns] = 0
    return known


def _pixels(side: float, image_shape) -> int:
    return max(1, round(side * min(image_shape[:2]))) if side < 1 else round(side)


@dataclass(frozen=True)
class Kind:
    """One sort of corruption.

    Attributes:
        function: (image (height, width, channels) in [0, 1], strength, random generator) -> the noisy
            image; or, where it hides pixels, the mask (height, width, 1) of the known ones.
        hides: which of the two.
        strength: what its number is, for messages; "" if it has none.
        limit: the number must be above 0 and below this.
    """

    function: Callable
    hides: bool
    strength: str
    limit: float


SIDE = "side in pixels, or below 1 as a share of the image's shorter side"
DEVIATION = "standard deviation, e.g. 0.1 or 25/255"
KINDS = {
    "gaussian": Kind(_gaussian, False, DEVIATION, float("inf")),
    "unclipped_gaussian": Kind(_unclipped_gaussian, False, DEVIATION, float("inf")),
    "salt_and_pepper": Kind(_salt_and_pepper, False, "share of the pixels", 1.0),
    "block": Kind(_block, True, SIDE, float("inf")),
    "centre": Kind(_centre, True, SIDE, float("inf")),
    "half": Kind(_half, True, "", 0.0),
    "pixels": Kind(_random_pixels, True, "share of the pixels", 1.0),
}


@dataclass(frozen=True)
class Corruption:
    """A kind with its strength, drawn evenly from `low` to `high` for each image."""

    kind: str
    low: float = 0.0
    high: float = 0.0

    @property
    def hides(self) -> bool:
        """Whether pixels go missing (known which), rather than get noisy."""
        return KINDS[self.kind].hides

    @property
    def unclipped(self) -> bool:
        """Whether what it gives leaves [0, 1]."""
        return KINDS[self.kind].function is _unclipped_gaussian

    def __call__(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The noisy image; or, where this hides pixels, the mask (height, width, 1) of the known ones."""
        strength = self.low if self.low == self.high else random.uniform(self.low, self.high)
        return KINDS[self.kind].function(image, strength, random)

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Raises an `InputError` where a block leaves nothing of such images."""
        if self.kind in ("block", "centre") and _pixels(self.high, image_shape) >= min(image_shape[:2]):
            raise InputError(
                f"a missing {self.kind} of side {self.high:g} leaves too little of images of "
                f"{image_shape[0]}x{image_shape[1]}; its side must stay below {min(image_shape[:2])}"
            )


def parse_corruptions(text: str) -> list[Corruption]:
    """`gaussian:25/255`, `pixels:0.2-0.8`, `half`, or several joined by commas, of which each image gets one.

    Raises:
        InputError: an unknown kind, or a strength that it cannot have.

    >>> parse_corruptions("gaussian:25/255, salt_and_pepper:0.1-0.2")[1]
    Corruption(kind='salt_and_pepper', low=0.1, high=0.2)
    """
    return [_parse(part.strip()) for part in text.split(",")]


def _parse(text: str) -> Corruption:
    name, _, value = text.partition(":")
    one_of(name, KINDS, "corruption")
    kind = KINDS[name]
    if not kind.strength:
        if value:
            raise InputError(f"the corruption '{name}' takes no number; leave out ':{value}'")
        return Corruption(name)
    number = r"\s*(-?[\d.]+(?:e-?\d+)?)(?:/([\d.]+))?\s*"
    match = re.fullmatch(f"{number}(?:-{number})?", value)
    try:
        first, divisor, last, last_divisor = (float(part) if part else None for part in match.groups())
        low = first if divisor is None else first / divisor
        high = low if last is None else last if last_divisor is None else last / last_divisor
    except (AttributeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"'{text}' needs a number, or a range like 0.1-0.3, after '{name}:' ({kind.strength})"
        ) from error
    if not 0 < high < kind.limit or not 0 <= low <= high:
        above = f" and below {kind.limit:g}" if kind.limit < float("inf") else ""
        raise InputError(f"'{text}' is not possible: the {kind.strength.split(',')[0]} must be above 0{above}")
    if kind.strength == SIDE and low < 1 <= high:
        raise InputError(f"the range of '{text}' mixes shares of a side (below 1) with pixels; give two of one sort")
    return Corruption(name, low, high)


def corrupt(
    images: np.ndarray, corruptions: list[Corruption], indices: np.ndarray, *, seed: int = 0, epoch: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Corrupts each image by itself, from (seed, epoch, its index) alone.

    Args:
        images: (n, height, width, channels) in [0, 1].
        corruptions: of which each image gets one.
        indices: (n,), the images' numbers in their data set.

    Returns:
        The corrupted images, whose missing pixels are 0, and the masks (n, height, width, 1) of the known pixels.

    >>> images = np.ones((2, 8, 8, 3), "float32")
    >>> corrupted, known = corrupt(images, parse_corruptions("centre:4"), np.arange(2))
    >>> int(known[0].sum())
    48
    """
    corrupted, known = np.array(images), np.ones((*images.shape[:3], 1), "float32")
    for image, mask, index in zip(corrupted, known, indices, strict=True):
        random = np.random.default_rng([seed, epoch, int(index)])
        corruption = corruptions[random.integers(len(corruptions)) if len(corruptions) > 1 else 0]
        changed = mask if corruption.hides else image
        changed[:] = corruption(image, random)
    corrupted *= known
    return corrupted, known
