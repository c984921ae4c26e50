"""Arrays of images -> labelled pictures and files."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_ae.errors import InputError
from keras_ae.files import safe_name

GAP = 2
MARGIN = 6
TEXT = 13
SIDE = 64  # small images are enlarged by a whole factor until the shorter side is about this
COLUMNS = 8
LARGEST = 16_000  # pixels a side: what a WebP holds
SHOWN = 16  # images, or classes, in the pictures of an epoch: more of these make a picture that no format holds

Pictures = Callable[[keras.Model, str], dict[str, Image.Image]]  # (model, title) -> pictures by kind, for `ImageGrids`


@dataclass(frozen=True)
class Rows:
    """Rows of images, to be drawn as one picture or saved one by one.

    Attributes:
        images: (rows, columns, height, width, channels), float in [0, 1]; NaN where a place is empty.
        names: a word for each row.
        title: of the picture.

    >>> Rows(np.zeros((2, 3, 32, 32, 1)), ["first", "second"]).picture().height
    144
    """

    images: np.ndarray
    names: list[str] | None = None
    title: str | None = None

    def picture(self) -> Image.Image:
        """All of them in one picture."""
        return grid(self.images, self.names, self.title)

    def save(self, path: Path | str) -> None:
        """Writes the picture; the suffix of `path` says in which format."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.picture().save(path)

    def save_each(self, folder: Path | str) -> None:
        """Writes a PNG for each image into a new folder, as `ROW_NAME_COLUMN.png`."""
        images, names = [], []
        for y, row in enumerate(self.images):
            for x, image in enumerate(row):
                if not np.isnan(image).all():
                    images.append(image)
                    names.append(f"{y:03d}_{safe_name(self.names[y]) if self.names else 'image'}_{x:03d}.png")
        save_each(folder, images, names)


def comparison(named: dict[str, np.ndarray], title: str | None = None) -> Rows:
    """Named rows of images (n, height, width, channels) one above the other, in bands of at most 8 columns.

    >>> comparison({"original": np.ones((10, 8, 8, 3)), "mask": np.ones((10, 8, 8, 1))}).names
    ['original', 'mask', 'original', 'mask']
    """
    channels = max(images.shape[-1] for images in named.values())
    coloured = [np.broadcast_to(images, (*images.shape[:3], channels)) for images in named.values()]
    bands = np.stack([in_rows(images) for images in coloured], axis=1)
    return Rows(bands.reshape(-1, *bands.shape[2:]), [*named] * len(bands), title)


def grid(rows: np.ndarray, labels: list[str] | None = None, title: str | None = None) -> Image.Image:
    """One picture of `rows` (rows, columns, height, width, channels), float in [0, 1]; NaN stays white.

    Args:
        labels: a word for each row, written at its left.
        title: written above.

    Raises:
        InputError: it would be too large.

    >>> grid(np.zeros((2, 3, 32, 32, 1))).size
    (210, 144)
    """
    rows = np.asarray(rows)
    scale = max(1, SIDE // min(rows.shape[2:4]))
    height, width = scale * rows.shape[2], scale * rows.shape[3]
    font = ImageFont.load_default(TEXT)
    left = MARGIN + (round(max(font.getlength(label) for label in labels)) + MARGIN if labels else 0)
    top = MARGIN + (TEXT + MARGIN if title else 0)
    picture_width = left + rows.shape[1] * (width + GAP) + MARGIN
    if title:
        picture_width = max(picture_width, round(font.getlength(title)) + 2 * MARGIN)
    picture_height = top + rows.shape[0] * (height + GAP) + MARGIN
    if max(picture_width, picture_height) > LARGEST:
        raise InputError(
            f"a picture of {picture_width:,} x {picture_height:,} pixels is larger than {LARGEST:,}; "
            "take fewer images or classes, or save them one by one"
        )
    picture = Image.new("RGB", (picture_width, picture_height), "white")
    pen = ImageDraw.Draw(picture)
    if title:
        pen.text((MARGIN, MARGIN // 2), title, fill="black", font=font)
    for y, row in enumerate(rows):
        if labels:
            pen.text((MARGIN, top + y * (height + GAP) + height / 2), labels[y], fill="black", font=font, anchor="lm")
        for x, image in enumerate(row):
            enlarged = to_picture(image).resize((width, height), Image.Resampling.NEAREST)
            picture.paste(enlarged, (left + x * (width + GAP), top + y * (height + GAP)))
    return picture


def to_picture(image: np.ndarray) -> Image.Image:
    """One image (height, width, 1 or 3), float in [0, 1], as an RGB picture.

    >>> to_picture(np.ones((8, 6, 1))).size
    (6, 8)
    """
    pixels = np.rint(np.clip(np.nan_to_num(image, nan=1.0), 0, 1) * 255).astype("uint8")
    return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())


def save_each(folder: Path | str, images: Iterable[np.ndarray], names: Iterable[str]) -> None:
    """Writes each image (height, width, 1 or 3), grey or of colours, as a PNG of its own size into a new folder. Takes
    one image at a time.

    Args:
        names: of the files, with folders and any suffix: `cats/a.jpg` becomes `cats/a.png`. Where that is taken,
            by another `a.png`, the whole name stays: `cats/a.jpg.png`. They may be a stranger's: each part is made a
            `safe_name`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "single"
    >>> save_each(folder, np.zeros((2, 8, 8, 3)), ["a.jpg", "b.jpg"])
    >>> sorted(path.name for path in folder.iterdir())
    ['a.png', 'b.png']
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    for image, name in zip(images, names, strict=True):
        parts = [safe_name(part) for part in Path(name).parts] or ["_"]
        path = _free(folder.joinpath(*parts))
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = to_picture(image)
        (picture.convert("L") if image.shape[-1] == 1 else picture).save(path)


def _free(path: Path) -> Path:
    """`path` as a PNG: with another suffix, or where that is taken with one more."""
    short, long = path.with_suffix(".png"), path.with_name(f"{path.name}.png")
    return new_path(long if short.exists() else short)


def animation(pictures: list[Path], path: Path, milliseconds: int = 400) -> None:
    """Shows PNGs of equal size one after the other, as a GIF or WebP by the suffix of `path`. The last one stays.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "single"
    >>> save_each(folder, np.random.random((2, 8, 8, 3)), ["a", "b"])
    >>> animation(sorted(folder.iterdir()), folder / "both.webp")
    """
    frames = []
    for picture in pictures:
        with Image.open(picture) as frame:
            frames.append(frame.copy())
    durations = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def new_path(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist.

    >>> new_path(Path("samples.png")).name
    'samples.png'
    """
    candidate = path
    number = 1
    while os.path.lexists(candidate):  # a link, too, wherever it leads
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def in_rows(images: np.ndarray) -> np.ndarray:
    """(n, ...) -> (rows, columns, ...): as few rows as hold them, and as few columns as these need."""
    rows = math.ceil(len(images) / COLUMNS)
    columns = math.ceil(len(images) / rows)
    return filled(images, rows * columns).reshape(rows, columns, *images.shape[1:])


def filled(images: np.ndarray, count: int) -> np.ndarray:
    """As many images as `count`, with NaN for those that are not there, which a grid leaves white."""
    empty = np.full((count - len(images), *images.shape[1:]), np.nan, "float32")
    return np.concatenate([images, empty])
