"""A folder of the user's own images: flat, or one subfolder per class; with masks beside them or without."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_ae.data.cache import Writer
from keras_ae.data.decoding import Picture, check_mask, read, read_mask, readable
from keras_ae.errors import InputError, printable

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
TEST_FRACTION = 0.1
MASK = "_mask"  # the end of a mask's name
MASK_CLASSES = 32  # more values than that are shades, not classes
NAMED = 100  # files in a warning


@dataclass(frozen=True)
class ImageFolder:
    """The source of a folder; a tenth of its images, chosen by a fixed seed, is the test split: both of only two."""

    path: Path
    image_size: tuple[int, int] | None = None
    limit: int | None = None

    @property
    def name(self) -> str:
        return printable(self.path.name) or "folder"

    def key(self) -> dict:
        states = [(file, file.stat()) for file in _listed(self.path)[0]]
        files = [(str(file.relative_to(self.path)), state.st_size, state.st_mtime_ns) for file, state in states]
        digest = hashlib.sha256(repr(files).encode()).hexdigest()
        return {
            "name": str(self.path.resolve()),
            "version": 3,
            "files": digest,
            "image_size": self.image_size,
            "limit": self.limit,
        }

    def write(self, writer: Writer) -> list[str]:
        pictures, folders, masks = self.pictures()
        levels = self._write(writer, pictures, folders, masks)
        if masks:
            writer.append("masks", levels=self._checked_levels(levels))
        return [] if folders == [self.path] else [printable(folder.name) for folder in folders]

    def pictures(self, *, masked: bool = True) -> tuple[list[Picture], list[Path], dict[Path, Path]]:
        """The images that decode, the folders that have some, and the mask of each image, if there are masks. Warns of
        all others.

        Args:
            masked: whether images without a mask are left out where others have one.

        Raises:
            InputError: there are none, or they lie both beside and inside subfolders.
        """
        files, skipped = _listed(self.path)
        self._check_layout(files)
        masks = _mask_files(files)
        are_masks = set(masks.values())
        pictures, unreadable = readable(file for file in files if file not in are_masks)
        skipped |= unreadable
        if masks and masked:
            skipped |= {picture.file: "no mask beside it" for picture in pictures if picture.file not in masks}
            skipped |= {masks[file]: "its image is skipped" for file in unreadable if file in masks}
            pictures = [picture for picture in pictures if picture.file in masks]
        folders = sorted({picture.file.parent for picture in pictures})
        for folder in folders:
            skipped.pop(folder, None)
        self._warn(pictures, skipped)
        if not pictures:
            raise InputError(f"{self.path} has no readable images ({', '.join(sorted(SUFFIXES))})")
        return pictures, folders, masks

    def _check_layout(self, files: list[Path]) -> None:
        folders = {file.parent for file in files}
        if self.path in folders and len(folders) > 1:
            raise InputError(
                f"{self.path} has images both beside and inside its subfolders; use one subfolder per class, or none"
            )

    def _warn(self, pictures: list[Picture], skipped: dict[Path, str]) -> None:
        """Says what is left out, and what is drawn on white."""
        if skipped:
            names = [f"{path.relative_to(self.path)} ({reason})" for path, reason in sorted(skipped.items())]
            more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
            message = f"{len(names)} skipped in {self.path}: {'; '.join(names[:NAMED] + more)}"
            warnings.warn(printable(message), stacklevel=3)
        if transparent := sum(picture.transparent for picture in pictures):
            message = f"{transparent} of {len(pictures)} images in {self.path} are transparent: drawn on white"
            warnings.warn(printable(message), stacklevel=3)

    def _write(self, writer: Writer, pictures: list[Picture], folders: list[Path], masks: dict[Path, Path]) -> set[int]:
        """Appends the images, labels, names and masks, split by split; returns the greys of the masks."""
        grey = all(picture.grey for picture in pictures)
        size = self.image_size or self._common_size(pictures)
        labels = {folder: label for label, folder in enumerate(folders)}
        names = np.array([os.fsencode(picture.file.relative_to(self.path)) for picture in pictures])  # none is cut
        levels = set()
        for split, part in _splits(len(pictures)).items():
            for index in part[: self.limit]:
                picture = pictures[index]
                blocks = {
                    "images": read(picture, size, grey=grey)[None],
                    "labels": np.array([labels[picture.file.parent]], "int32"),
                    "names": names[[index]],
                }
                if masks:
                    blocks["masks"] = read_mask(masks[picture.file], picture.size, size)[None]
                    levels |= set(np.unique(blocks["masks"]).tolist())
                writer.append(split, **blocks)
        return levels

    def _common_size(self, pictures: list[Picture]) -> tuple[int, int]:
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


class Photograph(NamedTuple):
    """An image of its own size.

    Attributes:
        name: of its file, relative to the folder.
        number: among all images of the folder.
        image: (height, width, 1 or 3), float32 in [0, 1].
        mask: (height, width) uint8 as stored; `None` where there are no masks.

    >>> Photograph("a.png", 0, np.zeros((20, 30, 1)), None).number
    0
    """

    name: str
    number: int
    image: np.ndarray
    mask: np.ndarray | None


def photographs(
    path: Path | str, split: str = "all", limit: int | None = None, *, masks: bool = False
) -> Iterator[Photograph]:
    """The images of a folder in their own sizes and channels, read one at a time.

    Args:
        split: "all", or "test" for the tenth that is the test split of `data.load`.
        limit: so many, the first.
        masks: whether to read the masks, too. Images without one are then left out.

    Raises:
        InputError: no folder, no images, another split; a mask of another size than its image.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("L", (30, 20)).save(folder / "a.png")
    >>> [(photograph.name, photograph.image.shape) for photograph in photographs(folder)]
    [('a.png', (20, 30, 1))]
    """
    path = Path(path)
    if split not in ("all", "test"):
        raise InputError(f"whole photographs are of the split all or test, not {split}")
    pictures, _, of_images = ImageFolder(path).pictures(masked=masks or split == "test")
    masks = masks and bool(of_images)
    places = (np.arange(len(pictures)) if split == "all" else _splits(len(pictures))["test"])[:limit]
    for place in places if masks else []:
        check_mask(of_images[pictures[place].file], pictures[place].size)

    def each():
        for place in places:
            picture = pictures[place]
            image = read(picture, picture.size, grey=picture.grey) / np.float32(255)
            mask = read_mask(of_images[picture.file], picture.size, picture.size)[..., 0] if masks else None
            yield Photograph(os.fsdecode(picture.file.relative_to(path)), int(place), image, mask)

    return each()


def sizes(path: Path | str) -> set[tuple[int, int]]:
    """(height, width) of the images of a folder.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("L", (30, 20)).save(folder / "a.png")
    >>> sizes(folder)
    {(20, 30)}
    """
    return {picture.size for picture in ImageFolder(Path(path)).pictures()[0]}


def _listed(root: Path) -> tuple[list[Path], dict[Path, str]]:
    """The files of images and masks, in order; and why each other file is left out, and each subfolder if it is."""
    files, others = [], {}
    real = os.path.realpath(root)
    folders = [(root, 0)]
    while folders:
        folder, depth = folders.pop()
        for entry in _entries(folder):
            path = folder / entry.name
            if reason := _reason(entry, depth, real):
                others[path] = reason
            elif entry.is_dir():
                folders.append((path, depth + 1))
                if depth == 0:
                    others[path] = "no images"  # unless some are used
            else:
                files.append(path)
    return sorted(files), others


def _entries(folder: Path) -> list[os.DirEntry]:
    """What the folder holds, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read ({error.strerror})") from error


def _reason(entry: os.DirEntry, depth: int, root: str) -> str | None:
    """Why a file or folder is left out, if it is."""
    if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
        return "a link out of the folder"
    if entry.is_dir() and not (depth and entry.is_symlink()):
        return None
    if depth > 1 or entry.is_dir():
        return "deeper than one folder"
    if Path(entry.name).suffix.lower() not in SUFFIXES:
        return f"not {', '.join(sorted(SUFFIXES))}"
    return None if entry.is_file() else "not a file"


def _mask_files(files: list[Path]) -> dict[Path, Path]:
    """Which file is the mask of which image: NAME_mask.png lies beside NAME.jpg."""
    images = {str(file.with_suffix("")): file for file in files}
    masked = {name.removesuffix(MASK): mask for name, mask in images.items() if name.endswith(MASK)}
    return {images[name]: mask for name, mask in masked.items() if name in images}


def _splits(count: int) -> dict[str, np.ndarray]:
    """The places of the test images and of the others; all are test images where there are only two."""
    order = np.random.default_rng(2026).permutation(count)
    tests = max(1, round(TEST_FRACTION * count)) if count > 2 else count
    return {"test": order[:tests], "train": order[tests:]}
