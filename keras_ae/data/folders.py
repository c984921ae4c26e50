"""A folder of the user's own images: flat, or one subfolder per class; with masks beside them or without."""

import contextlib
import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

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
        found = self._files()
        files = [file for file in found if file.resolve().is_relative_to(self.path.resolve())]
        folders = sorted({file.parent for file in files}) if any(f.parent != self.path for f in files) else []
        if folders and any(file.parent == self.path for file in files):
            raise InputError(
                f"{self.path} has images both beside and inside its subfolders; use one subfolder per class, or none"
            )
        masks = _masks(files)
        readable, skipped = _readable([file for file in files if file not in masks.values()])
        skipped += [f"{_shown(file)} (a link out of the folder)" for file in sorted({*found} - {*files})]
        if masks:
            skipped += [f"{_shown(file)} (no mask beside it)" for file, *_ in readable if file not in masks]
            readable = [row for row in readable if row[0] in masks]
        for file in sorted(self.path.iterdir()):
            if file.is_file() and file.suffix.lower() not in SUFFIXES and not file.name.startswith("."):
                skipped.append(f"{_shown(file)} (not {', '.join(sorted(SUFFIXES))})")
        if skipped:
            names = "; ".join(skipped[:100]) + (f"; and {len(skipped) - 100} more" if len(skipped) > 100 else "")
            warnings.warn(f"{len(skipped)} files in {self.path} skipped: {names}", stacklevel=2)
        if not readable:
            raise InputError(f"{self.path} has no readable images ({', '.join(sorted(SUFFIXES))})")
        mode = "L" if all(mode in {"1", "L"} for _, mode, _ in readable) else "RGB"
        size = self.image_size or _common_size(self.path, readable)
        order = np.random.default_rng(2026).permutation(len(readable))
        tests = max(1, round(TEST_FRACTION * len(order))) if len(order) > 2 else len(order)
        levels = set()
        for split, part in (("test", order[:tests]), ("train", order[tests:])):
            for index in part[: self.limit]:
                file = readable[index][0]
                label = folders.index(file.parent) if folders else 0
                blocks = {
                    "images": _read(file, mode, size)[None],
                    "labels": np.array([label], "int32"),
                    "names": np.array([os.fsencode(file.relative_to(self.path))], "S1024"),
                }
                if masks:
                    blocks["masks"] = _read_mask(masks[file], readable[index][2], size)[None]
                    levels |= set(np.unique(blocks["masks"]).tolist())
                writer.append(split, **blocks)
        if len(levels) > MASK_CLASSES:
            raise InputError(
                f"the masks in {self.path} have {len(levels)} different values, one for each class is meant and "
                f"{MASK_CLASSES} are possible; save them without smoothing, as PNG"
            )
        if masks:
            writer.append("masks", levels=np.array(sorted(levels), "uint8"))
        return [_shown(folder) for folder in folders]

    def _files(self) -> list[Path]:
        found = [*self.path.glob("*"), *self.path.glob("*/*")]
        return sorted(file for file in found if file.suffix.lower() in SUFFIXES and file.is_file())


def _masks(files: list[Path]) -> dict[Path, Path]:
    """Which file is the mask of which image: NAME_mask.png lies beside NAME.jpg."""
    images = {file.with_suffix(""): file for file in files}
    names = {path: path.with_name(path.name.removesuffix(MASK)) for path in images if path.name.endswith(MASK)}
    return {images[image]: images[mask] for mask, image in names.items() if image in images}


def fit_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scales and centre-crops to `size` = (height, width)."""
    height, width = size
    return ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)


def _shown(path: Path) -> str:
    """Its name in one line that can be printed, whatever bytes it is of."""
    return repr(path.name)[1:-1]


def _readable(files: list[Path]) -> tuple[list[tuple[Path, str, tuple[int, int]]], list[str]]:
    """The files that decode, each with its mode and its (height, width), and the names of the others."""
    readable, skipped = [], []
    for file in files:
        try:
            with _opened(file) as image:
                image.verify()  # the checksums of a PNG, which decoding does not look at
            with _opened(file) as image:
                image.load()
                width, height = ImageOps.exif_transpose(image).size
            readable.append((file, image.mode, (height, width)))
        except Exception as error:  # whatever Pillow meets in a damaged file
            reason = str(error) if isinstance(error, ValueError) else type(error).__name__
            skipped.append(f"{_shown(file)} ({reason})")
    return readable, skipped


@contextlib.contextmanager
def _opened(file: Path):
    """The image; one that is too large is an error, and one of more than 8 bits a grey value."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a channel")
            yield image


def _common_size(path: Path, readable: list) -> tuple[int, int]:
    sizes = {size for _, _, size in readable}
    if len(sizes) > 1:
        raise InputError(
            f"the images in {path} have {len(sizes)} different sizes; choose one, e.g. --image-size 64 or 45x61"
        )
    return sizes.pop()


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
        given, wanted = ("x".join(map(str, shape)) for shape in (mask.shape, image_size))
        raise InputError(f"the mask {file} is {given} and its image {wanted}; make them equal")
    return np.asarray(ImageOps.fit(Image.fromarray(mask), size[::-1], method=Image.Resampling.NEAREST))[..., None]
