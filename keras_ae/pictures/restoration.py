"""What an autoencoder makes of the images it restores."""

import itertools
import math
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from keras_ae.data import Dataset, Split
from keras_ae.data.folders import Photograph
from keras_ae.errors import InputError
from keras_ae.models import PhotographRestorer, restore_images
from keras_ae.pictures.grids import SHOWN, Pictures, comparison
from keras_ae.tasks import Task

TOGETHER = 2**17  # pixels


def restored(
    model: keras.Model,
    task: Task,
    dataset: Dataset,
    count: int | None = None,
    *,
    split: str = "test",
    mirrored: bool = False,
) -> dict[str, np.ndarray]:
    """What an autoencoder makes of images, last, after what it is given and what it should make.

    Images need no masks to be segmented. Then there is no row of true ones.

    Args:
        count: so many images, the first of the split; all where `None`.
        split: "train", "validation", "test", or "all" for all three.
        mirrored: as `restore_images` takes it.

    Returns:
        Rows by name, (n, height, width, channels), for `comparison`.

    Raises:
        InputError: the split has no images, or the data set cannot serve the task.

    >>> import keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> model = keras_ae.conv_autoencoder(shapes.image_shape, 2, 4, width=4)
    >>> named = keras_ae.pictures.restored(model, keras_ae.get_task("denoise"), shapes, 3)
    >>> {name: images.shape for name, images in named.items()}
    {'original': (3, 8, 8, 3), 'noisy': (3, 8, 8, 3), 'denoised': (3, 8, 8, 3)}
    """
    if not task.classifies and task.corruption != "none":  # these restore images whose truth is not known, too
        task.check(dataset)
    parts = [_restored(model, task, part, places, mirrored) for part, places in _first(dataset, split, count)]
    if not parts:
        raise InputError(f"{dataset.name} has no {split} images to restore; choose another split")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def restored_photographs(
    model: keras.Model, task: Task, photographs: Iterable[Photograph], *, mirrored: bool = False
) -> Iterator[np.ndarray]:
    """What an autoencoder makes of each photograph, of the same size and channels. Large ones are restored one at a
    time, small ones of one size together.

    Args:
        task: what is done to them first; its word, "none" or "masks", where they come with noise or with masks.
        photographs: as `data.photographs` gives them.
        mirrored: as `restore_images` takes it.

    Raises:
        InputError: the model has one size, or labels; the task classifies, or needs masks that are not there.

    >>> import keras_ae, tempfile
    >>> folder = tempfile.mkdtemp() + "/own"
    >>> keras_ae.pictures.save_each(folder, [np.ones((20, 30, 1))], ["a.png"])
    >>> photographs = keras_ae.data.photographs(folder)
    >>> model = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, task="denoise", skip_connections=True, width=4)
    >>> [image.shape for image in restored_photographs(model, keras_ae.get_task("denoise"), photographs)]
    [(20, 30, 1)]
    """
    if task.classifies:
        raise InputError("a segmentation is of images of the model's size; leave out --separate, or crop them")
    restorer = PhotographRestorer(model)

    def each():
        for together in _of_one_size(photographs):
            first = together[0]
            if task.masks and first.mask is None:
                raise InputError(f"there is no mask beside {first.name}; give another corruption than 'masks'")
            batch = {"image": np.stack([photograph.image for photograph in together])}
            if task.masks:
                batch["mask"] = np.stack([photograph.mask for photograph in together])[..., None]
            for corruption in task.corruptions:
                corruption.check(first.image.shape)
            inputs, *_ = task.examples(batch, np.array([photograph.number for photograph in together]))
            how = {"mirrored": mirrored, "unclipped": task.unclipped}
            yield from restorer.restore(inputs["image"], inputs.get("mask"), **how)

    return each()


def _of_one_size(photographs: Iterable[Photograph]) -> Iterator[list[Photograph]]:
    """Those that follow one another and have the same shape, together as many pixels as `TOGETHER` at most."""
    for _, same in itertools.groupby(photographs, key=lambda photograph: photograph.image.shape):
        together = []
        for photograph in same:
            together.append(photograph)
            if (len(together) + 1) * math.prod(photograph.image.shape[:2]) > TOGETHER:
                yield together
                together = []
        if together:
            yield together


def file_names(dataset: Dataset, count: int | None = None, *, split: str = "test", word: str = "image") -> list[str]:
    """A name for what becomes of each image that `restored` takes: its file's, or a number and the word.

    >>> import keras_ae
    >>> keras_ae.pictures.file_names(keras_ae.data.load("shapes", limit=40), 2, word="denoised")
    ['000_denoised_000.png', '001_denoised_000.png']
    """
    names = []
    for part, places in _first(dataset, split, count):
        start = len(names)
        numbered = [f"{start + number:03d}_{word}_000.png" for number in range(len(part))]
        names += (part.file_names or numbered)[places]
    return names


def task_pictures(task: Task, split: Split) -> Pictures:
    """For `ImageGrids`: what an autoencoder makes of the first images of a split, with what it is given and should
    make. They are corrupted once, so that epochs compare.

    >>> import keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> pictures = task_pictures(keras_ae.get_task("reconstruct"), shapes.validation)
    >>> model = keras_ae.conv_autoencoder(shapes.image_shape, 2, 4, width=4)
    >>> list(pictures(model, "epoch 1"))
    ['reconstruct']
    """
    inputs, target, *_ = task.take(split, slice(0, SHOWN))

    def pictures(model, title):
        output = model.predict(inputs, verbose=0)
        return {task.name: comparison(task.rows(inputs, target, output), title).picture()}

    return pictures


def _restored(model, task, split, places, mirrored) -> dict[str, np.ndarray]:
    if task.classifies and not split.mask_levels:
        return _segmented(model, task, split.batch(places), mirrored)
    inputs, target, *_ = task.take(split, places)
    known, labels = inputs.get("mask"), inputs.get("label")
    how = {"mirrored": mirrored, "unclipped": task.unclipped}
    output = restore_images(model, inputs["image"], mask=known, labels=labels, **how)
    return task.rows(inputs, target, output)


def _segmented(model, task, batch, mirrored) -> dict[str, np.ndarray]:
    """Images whose true classes are not known, and the classes that the model gives their pixels."""
    labels = batch["label"] if task.label else None
    probabilities = restore_images(model, batch["image"], labels=labels, mirrored=mirrored)
    *_, (name, classes) = task.rows(batch, probabilities, probabilities).items()
    return {"image": batch["image"], name: classes}


def _first(dataset: Dataset, name: str, count: int | None):
    """The splits of that name that have images, each with the places of those among the first `count` of all."""
    for split in dataset.splits.values() if name == "all" else [dataset.splits[name]]:
        taken = len(split) if count is None else min(count, len(split))
        if count is not None:
            count -= taken
        if taken:
            yield split, slice(0, taken)
