"""One function from a name to images, labels, class names and splits."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keras_ae.data.cache import Source, expanded, open_or_build
from keras_ae.data.folders import ImageFolder
from keras_ae.data.shapes import Shapes
from keras_ae.data.tfds import TensorflowDataset, default_data_dir
from keras_ae.errors import InputError

VALIDATION_SEED = 2026
VALIDATION_FRACTION = 0.05
PIXEL_SEED = 777  # of pixels that are drawn, in all images that no training looks at
MAX_PIXELS = 2**26  # of an image; one of them takes 0.8 GB as float32


@dataclass(frozen=True)
class Split:
    """Rows of memory-mapped arrays, by index: a part of a data set that copies nothing.

    Attributes:
        arrays: `images` (n, height, width, channels) uint8, `labels` (n,) int32, and what else the
            source knows of each image: `masks` (n, height, width, 1) uint8, `factors` in `shapes`, and the
            `names` of a folder's files, as bytes.
        indices: which rows belong to the split, in order.
        mask_levels: the greys that the classes of a mask have.
        binarized: whether batches hold pixels of 0 and 1, drawn with the grey as the probability of 1.
        dequantized: whether they hold pixels drawn evenly within their grey level, (255 x + u) / 256.

    >>> arrays = {"images": np.full((3, 4, 4, 1), 255, "uint8"), "labels": np.arange(3, dtype="int32")}
    >>> split = Split(arrays, indices=np.array([0, 2]))
    >>> split.batch(slice(0, 2))["label"].tolist()
    [0, 2]
    """

    arrays: dict[str, np.ndarray]
    indices: np.ndarray
    mask_levels: tuple[int, ...] = ()
    binarized: bool = False
    dequantized: bool = False

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def draws_pixels(self) -> bool:
        return self.binarized or self.dequantized

    @property
    def file_names(self) -> list[str] | None:
        """The file of each image, relative to its folder; `None` where the images are not from files."""
        names = self.arrays.get("names")
        return None if names is None else [os.fsdecode(name) for name in names[self.indices]]

    def first_of_each(self, labels: Iterable[int], count: int) -> np.ndarray:
        """The places of the first `count` images of each label, label by label; fewer where there are fewer."""
        own = self.arrays["labels"][self.indices]
        places = np.concatenate([np.flatnonzero(own == label)[:count] for label in labels])
        if not len(places):
            raise InputError(
                f"none of the {len(self)} images has one of these classes; choose others, or another split"
            )
        return places

    def batch(
        self, places: np.ndarray | slice, *, masks: bool = False, key: tuple[int, int] = (PIXEL_SEED, 0)
    ) -> dict[str, np.ndarray]:
        """The batch at `places` of the split: `image` float32 in [0, 1] and `label` int32; with `masks`, too,
        `mask` (n, height, width, 1) uint8 as stored, and `segmentation` (n, height, width, mask classes), the
        one-hot class of each pixel.

        Args:
            key: two numbers on which pixels that are drawn depend, beside the image.
        """
        rows = self.indices[places]
        image = np.multiply(self.arrays["images"][rows], np.float32(1 / 255), dtype="float32")
        if self.draws_pixels:
            uniform = uniforms(key, rows, image.shape[1:])
            image = (uniform < image).astype("float32") if self.binarized else (255 * image + uniform) / 256
        batch = {"image": image, "label": np.asarray(self.arrays["labels"][rows])}
        if masks:
            batch["mask"] = self.arrays["masks"][rows]
            between = np.add(self.mask_levels[1:], self.mask_levels[:-1]) / 2  # the nearest level is meant
            one_hot = np.eye(len(self.mask_levels), dtype="float32")
            batch["segmentation"] = one_hot[np.searchsorted(between, batch["mask"][..., 0])]
        return batch


def uniforms(key: tuple[int, int], rows: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Uniform numbers in [0, 1) for each image, (n, height, width, channels), which depend on the key and on the
    image's row alone.

    >>> one, other = uniforms((0, 1), np.array([3, 5]), (2, 2, 1)), uniforms((0, 1), np.array([5]), (2, 2, 1))
    >>> np.array_equal(one[1], other[0])
    True
    """
    values = np.empty((len(rows), *shape), "float32")
    random = np.random.Generator(np.random.Philox(key=key))
    state = random.bit_generator.state
    for value, row in zip(values, rows, strict=True):
        state["state"]["counter"][2] = row  # 2^128 numbers from the next row's
        random.bit_generator.state = state
        random.random(dtype="float32", out=value)
    return values


@dataclass(frozen=True)
class Dataset:
    """A named set of images with the splits `train`, `validation` (taken from train) and `test`.

    Where there are too few images to train on and to validate with, both these splits are empty.

    Attributes:
        source, image_size: what `load` was given, so that a saved model can open its data again. `source` is `None`
            for a data set made in another way.

    >>> shapes = load("shapes", image_size=(8, 8), limit=40)
    >>> shapes.image_shape, len(shapes.test)
    ((8, 8, 3), 40)
    """

    name: str
    class_names: list[str]
    train: Split
    validation: Split
    test: Split
    source: str | None = None
    image_size: tuple[int, int] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train.arrays["images"].shape[1:]

    @property
    def mask_classes(self) -> int:
        """How many classes the masks tell apart; 0 without masks."""
        return len(self.train.mask_levels)

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def is_binarized(self) -> bool:
        return self.test.binarized

    def binarized(self) -> "Dataset":
        """The same grey images with pixels of 0 and 1, drawn with the grey as the probability of 1: those of a training
        anew in each epoch, all others once. What is drawn depends on the seed of the training, the epoch and the image.

        Raises:
            InputError: the images are not grey, or drawn already.

        >>> import keras_ae
        >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
        >>> try:
        ...     shapes.binarized()
        ... except keras_ae.InputError as error:
        ...     print(error)
        only grey images are binarized; those of shapes have 3 channels
        """
        if self.image_shape[2] != 1:
            channels = self.image_shape[2]
            raise InputError(f"only grey images are binarized; those of {self.name} have {channels} channels")
        self._check_not_drawn()
        return replace(self, **{name: replace(split, binarized=True) for name, split in self.splits.items()})

    @property
    def is_dequantized(self) -> bool:
        return self.test.dequantized

    def dequantized(self) -> "Dataset":
        """The same images with each value drawn evenly within its grey level, (255 x + u) / 256: those of a training
        anew in each epoch, all others once. A density of such pixels bounds the probability of the levels (Theis et al.
        2016, "A note on the evaluation of generative models", section 3.1).

        Raises:
            InputError: the pixels are drawn already.

        >>> import keras_ae
        >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
        >>> levels = 256 * shapes.dequantized().test.batch(slice(0, 2))["image"]
        >>> bool((levels.astype(int) == (255 * shapes.test.batch(slice(0, 2))["image"]).round()).all())
        True
        """
        self._check_not_drawn()
        return replace(self, **{name: replace(split, dequantized=True) for name, split in self.splits.items()})

    def _check_not_drawn(self) -> None:
        if self.test.draws_pixels:
            raise InputError("the pixels are drawn already; binarize or dequantize them, once")


def load(
    name: str,
    *,
    image_size: tuple[int, int] | None = None,
    data_dir: Path | str | None = None,
    cache_dir: Path | str | None = None,
    limit: int | None = None,
    validation: int | None = None,
) -> Dataset:
    """Opens a data set; the first time it is drawn, decoded or downloaded into the cache.

    Args:
        name: `shapes`; a folder of images; or the name of a TFDS image-classification set.
        image_size: (height, width) to scale and centre-crop to; the images' own where `None`.
        data_dir: the folder of prepared TFDS sets; `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
        cache_dir: where decoded arrays are kept; `KERAS_HOME/keras_ae`.
        limit: use the first `limit` images of each split only.
        validation: how many of the training images validate, 0 too; about one in 20 where `None`.

    Raises:
        InputError: the set is unknown, missing, or cannot be used.

    >>> from keras_ae import data
    >>> shapes = data.load("shapes", limit=40, image_size=(8, 8))
    >>> shapes.image_shape, len(shapes.train) + len(shapes.validation), len(shapes.test)
    ((8, 8, 3), 40, 40)
    """
    if image_size is not None and not (min(image_size) >= 1 and math.prod(image_size) <= MAX_PIXELS):
        raise InputError(
            f"image size {image_size[0]}x{image_size[1]} is not possible; height and width start at 1, "
            f"and height x width ends at {MAX_PIXELS:,} pixels"
        )
    source = _source(name, image_size, data_dir, limit)
    arrays, class_names = open_or_build(source, cache_dir)
    train, test = (
        {key.split("/")[1]: array for key, array in arrays.items() if key.startswith(f"{split}/")}
        for split in ("train", "test")
    )
    if len(train.get("labels", ())) < 2:  # enough to restore, but neither to train nor to validate
        train = {name: array[:0] for name, array in test.items()}
    held_out = _held_out(len(train["labels"]), validation, source.name)
    levels = tuple(arrays.get("masks/levels", np.array([], "uint8")).tolist())
    return Dataset(
        name=source.name,
        class_names=class_names,
        train=Split(train, np.flatnonzero(~held_out), levels),
        validation=Split(train, np.flatnonzero(held_out), levels),
        test=Split(test, np.arange(len(test["labels"])), levels),
        source=str(name),
        image_size=image_size,
    )


def _held_out(count: int, validation: int | None, name: str) -> np.ndarray:
    """Which of the training images validate, (count,)."""
    # Decided image by image, so that a limit changes nothing for the images that stay.
    chances = np.random.default_rng(VALIDATION_SEED).random(count)
    if validation is None:
        held_out = chances < VALIDATION_FRACTION
        if not held_out.any():
            held_out[:1] = True
        return held_out
    if not 0 <= validation < max(count, 1):
        raise InputError(f"{validation} of {count:,} training images of {name} cannot validate; leave 1 to train on")
    return np.argsort(np.argsort(chances)) < validation


def _source(name: str, image_size: tuple[int, int] | None, data_dir: Path | str | None, limit: int | None) -> Source:
    if name == "shapes":
        return Shapes(image_size, limit)
    path = expanded(name)
    if path.is_dir():
        return ImageFolder(path, image_size, limit)
    if path.exists():
        raise InputError(f"{name} is a file; give the folder that holds the images")
    source = TensorflowDataset(name, expanded(data_dir or default_data_dir()), image_size, limit)
    if not source.prepared():
        source.prepare()
    return source
