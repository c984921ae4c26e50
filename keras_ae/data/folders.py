"""A folder of the user's own images: flat, or one subfolder per class; with masks beside them or without."""

import contextlib
import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from keras_ae.data.cache import Writer
from keras_ae.errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
TEST_FRACTION = 0.1
MASK = "_mask"  # the end of a mask's name
MASK_CLASSES = 32  # more values than that are shades, not classes


@dataclass(frozen=True)
class ImageFolder:
    """The source of a folder; a tenth of its images, chosen by a fixed seed, is the test split: both of only two."""

    path: Path
    image_size: tuple[int, int] | None = None
    limit: int | None = None

    @property
    def name(self) -> str:
        return self.path.name or "folder"

    def key(self) -> dict:
        files = [(str(f.relative_to(self.path)), f.stat().st_size, f.stat().st_mtime_ns) for f in self._files()]
        digest = hashlib.sha256(repr(files).encode()).hexdigest()
        return {
            "name": str(self.path.resolve()),
            "version": 2,
            "files": digest,
            "image_size": self.image_size,
            "limit": self.limit,
        }

    def write(self, writer: Writer) -> list[str]:
        files, skipped = self._find()
        folders = self._class_folders(files)
        masks = _mask_files(files)
        pictures, unreadable = _readable([file for file in files if file not in masks.values()])
        skipped = unreadable + skipped
        if masks:
            skipped += [
                f"{_shown(picture.file)} (no mask beside it)" for picture in pictures if picture.file not in masks
            ]
            pictures = [picture for picture in pictures if picture.file in masks]
        self._warn_of(skipped + self._other_files())
        if not pictures:
            raise InputError(f"{self.path} has no readable images ({', '.join(sorted(SUFFIXES))})")
        levels = self._write(writer, pictures, folders, masks)
        if masks:
            writer.append("masks", levels=self._checked_levels(levels))
        return [_shown(folder) for folder in folders]

    def _files(self) -> list[Path]:
        paths = [*self.path.glob("*"), *self.path.glob("*/*")]
        return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())

    def _find(self) -> tuple[list[Path], list[str]]:
        """The files of images and masks, and the links out of the folder, which are skipped."""
        root = self.path.resolve()
        files, links = [], []
        for file in self._files():
            if file.resolve().is_relative_to(root):
                files.append(file)
            else:
                links.append(f"{_shown(file)} (a link out of the folder)")
        return files, links

    def _other_files(self) -> list[str]:
        """Files beside the images that are none by their suffix."""
        others = [
            file
            for file in sorted(self.path.iterdir())
            if file.is_file() and file.suffix.lower() not in SUFFIXES and not file.name.startswith(".")
        ]
        return [f"{_shown(file)} (not {', '.join(sorted(SUFFIXES))})" for file in others]

    def _class_folders(self, files: list[Path]) -> list[Path]:
        """The folder of each class, in the order of their labels; none for a flat folder."""
        folders = sorted({file.parent for file in files})
        if folders in ([], [self.path]):
            return []
        if self.path in folders:
            raise InputError(
                f"{self.path} has images both beside and inside its subfolders; use one subfolder per class, or none"
            )
        return folders

    def _warn_of(self, skipped: list[str]) -> None:
        if skipped:
            names = "; ".join(skipped[:100]) + (f"; and {len(skipped) - 100} more" if len(skipped) > 100 else "")
            warnings.warn(f"{len(skipped)} files in {self.path} skipped: {names}", stacklevel=3)

    def _write(
        self, writer: Writer, pictures: list["Picture"], folders: list[Path], masks: dict[Path, Path]
    ) -> set[int]:
        """Appends the images, labels, names and masks, split by split; returns the greys of the masks."""
        mode = "L" if all(picture.mode in {"1", "L"} for picture in pictures) else "RGB"
        size = self.image_size or self._common_size(pictures)
        levels = set()
        for split, part in _splits(pictures).items():
            for file, _, own_size in part[: self.limit]:
                label = folders.index(file.parent) if folders else 0
                blocks = {
                    "images": _read(file, mode, size)[None],
                    "labels": np.array([label], "int32"),
                    "names": np.array([os.fsencode(file.relative_to(self.path))], "S1024"),
                }
                if masks:
                    blocks["masks"] = _read_mask(masks[file], own_size, size)[None]
                    levels |= set(np.unique(blocks["masks"]).tolist())
                writer.append(split, **blocks)
        return levels

    def _common_size(self, pictures: list["Picture"]) -> tuple[int, int]:
        sizes = {picture.size for picture in pictures}
        if len(sizes) > 1:
            raise InputError(
                f"the images in {self.path} have {len(sizes)} different sizes; "
                "choose one, e.g. --image-size 64 or 45x61"
            )
        return sizes.pop()

    def _checked_levels(self, levels: set[int]) -> np.ndarray:
        if len(levels) > MASK_CLASSES:
            raise InputError(
                f"the masks in {self.path} have {len(levels)} different values, one for each class is meant and "
                f"{MASK_CLASSES} are possible; save them without smoothing, as PNG"
            )
        return np.array(sorted(levels), "uint8")


class Picture(NamedTuple):
    """A file that decodes, its mode in Pillow's words, and its (height, width)."""

    file: Path
    mode: str
    size: tuple[int, int]


def _mask_files(files: list[Path]) -> dict[Path, Path]:
    """Which file is the mask of which image: NAME_mask.png lies beside NAME.jpg."""
    images = {file.with_suffix(""): file for file in files}
    names = {path: path.with_name(path.name.removesuffix(MASK)) for path in images if path.name.endswith(MASK)}
    return {images[image]: images[mask] for mask, image in names.items() if image in images}


def _splits(pictures: list[Picture]) -> dict[str, list[Picture]]:
    """The test images and the others; all are test images where there are only two."""
    order = np.random.default_rng(2026).permutation(len(pictures))
    tests = max(1, round(TEST_FRACTION * len(order))) if len(order) > 2 else len(order)
    parts = {"test": order[:tests], "train": order[tests:]}
    return {split: [pictures[index] for index in part] for split, part in parts.items()}


def fit_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scales and centre-crops to `size` = (height, width)."""
    height, width = size
    return ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)


def _shown(path: Path) -> str:
    """Its name in one line that can be printed, whatever bytes it is of."""
    return repr(path.name)[1:-1]


def _readable(files: list[Path]) -> tuple[list[Picture], list[str]]:
    """The files that decode, and the names of the others with the reason."""
    pictures, skipped = [], []
    for file in files:
        try:
            with _opened(file) as image:
                image.verify()  # the checksums of a PNG, which decoding does not look at
            with _opened(file) as image:
                image.load()
                width, height = ImageOps.exif_transpose(image).size
            pictures.append(Picture(file, image.mode, (height, width)))
        except Exception as error:  # whatever Pillow meets in a damaged file
            reason = str(error) if isinstance(error, ValueError) else type(error).__name__
            skipped.append(f"{_shown(file)} ({reason})")
    return pictures, skipped


@contextlib.contextmanager
def _opened(file: Path):
    """The image; one that is too large is an error, and one of more than 8 bits a grey value."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a channel")
            yield image


def _read(file: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    with Image.open(file) as image:
        pixels = np.asarray(fit_image(ImageOps.exif_transpose(image).convert(mode), size))
    return pixels.reshape(*size, -1)


def _read_mask(file: Path, image_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The mask's values, or palette indices, cropped as its image is."""
    try:
        with _opened(file) as image:
            mask = np.asarray(image if image.mode == "P" else image.convert("L"))
    except Exception as error:  # as above
        raise InputError(f"the mask {file} cannot be read ({type(error).__name__})") from error
    if mask.shape != image_size:
        own, wanted = ("x".join(map(str, shape)) for shape in (mask.shape, image_size))
        raise InputError(f"the mask {file} is {own} and its image {wanted}; make them equal")
    return np.asarray(ImageOps.fit(Image.fromarray(mask), size[::-1], method=Image.Resampling.NEAREST))[..., None]
