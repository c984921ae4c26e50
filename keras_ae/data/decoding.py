"""One file of an image or a mask -> its pixels."""

import contextlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from keras_ae.errors import InputError


class Picture(NamedTuple):
    """A file that decodes.

    Attributes:
        grey: it has no colours.
        transparent: some of its pixels show what is behind them.
        size: (height, width).
    """

    file: Path
    grey: bool
    transparent: bool
    size: tuple[int, int]


def readable(files: Iterable[Path]) -> tuple[list[Picture], dict[Path, str]]:
    """The files that decode, and why each other one does not."""
    pictures, skipped = [], {}
    for file in files:
        try:
            pictures.append(_picture(file))
        except Exception as error:  # whatever Pillow meets in a damaged file
            skipped[file] = str(error) if isinstance(error, ValueError) else type(error).__name__
    return pictures, skipped


def read(picture: Picture, size: tuple[int, int], *, grey: bool) -> np.ndarray:
    """Its pixels (height, width, 1 or 3) uint8, on white, scaled and centre-cropped to `size`."""
    with Image.open(picture.file) as image:
        image = ImageOps.exif_transpose(image)
        if picture.transparent:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        pixels = np.asarray(fit_image(image.convert("L" if grey else "RGB"), size))
    return pixels.reshape(*size, -1)


def check_mask(file: Path, image_size: tuple[int, int]) -> None:
    """Returns if the mask has the (height, width) of its image, and something of it is known.

    Raises:
        InputError: it has not, does not decode, or hides the whole image.
    """
    if _mask(file, image_size).all():
        raise InputError(f"the mask {file} has no black: all pixels of its image are missing, and one must be known")


def read_mask(file: Path, image_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The mask's values, or palette indices, cropped as its image is."""
    mask = _mask(file, image_size)
    return np.asarray(ImageOps.fit(Image.fromarray(mask), size[::-1], method=Image.Resampling.NEAREST))[..., None]


def _mask(file: Path, image_size: tuple[int, int]) -> np.ndarray:
    try:
        with _opened(file) as image:
            mask = np.asarray(image if image.mode == "P" else image.convert("L"))
    except Exception as error:  # as above
        raise InputError(f"the mask {file} cannot be read ({type(error).__name__})") from error
    if mask.shape != image_size:
        own, wanted = ("x".join(map(str, shape)) for shape in (mask.shape, image_size))
        raise InputError(f"the mask {file} is {own} and its image {wanted}; make them equal")
    return mask


def fit_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scales and centre-crops to `size` = (height, width)."""
    height, width = size
    return ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)


def _picture(file: Path) -> Picture:
    with _opened(file) as image:
        image.verify()  # the checksums of a PNG, which decoding does not look at
    with _opened(file) as image:
        image.load()
        width, height = ImageOps.exif_transpose(image).size
        transparent = image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255
        return Picture(file, image.mode in {"1", "L", "LA", "La"}, transparent, (height, width))


@contextlib.contextmanager
def _opened(file: Path):
    """The image; one that is too large is an error, and one of more than 8 bits a grey value."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a channel")
            yield image
