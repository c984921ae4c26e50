"""What models show of themselves: arrays of images -> labelled pictures.

pictures.samples(vae, labels=["star", "heart"]).save("samples.png")
named = pictures.restored(model, task, dataset, count=16)
pictures.comparison(named).save("restored.png")
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_ae.data import Dataset, Split
from keras_ae.errors import InputError
from keras_ae.models import VAE, restore_images
from keras_ae.tasks import Task

GAP = 2
MARGIN = 6
TEXT = 13
SIDE = 64  # small images are enlarged by a whole factor until the shorter side is about this
COLUMNS = 8
SHOWN = 16  # images, or classes, in the pictures of an epoch: more of these make a picture that no format holds

Pictures = Callable[[keras.Model, str], dict[str, Image.Image]]


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
                    names.append(f"{y:03d}_{self.names[y] if self.names else 'image'}_{x:03d}.png")
        save_each(folder, images, names)


def samples(
    vae: VAE, count: int = 64, labels=None, *, temperature: float = 1.0, seed: int = 0, same_latents: bool = False
) -> Rows:
    """Samples of a VAE: a row for each class of a conditional one, else a block.

    Args:
        count: of images in all, rounded up to full rows.
        labels: class names or ids, a row each; all classes where `None`.
        temperature, seed: as `VAE.sample` takes them.
        same_latents: the rows share their latents, so that a column shows one in every class.

    Raises:
        InputError: labels are unknown, or given for a model that is not conditional.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, class_names=["cat", "dog"], conditioning="decoder", width=4)
    >>> rows = keras_ae.pictures.samples(vae, 6)
    >>> rows.names, rows.images.shape
    (['cat', 'dog'], (2, 3, 8, 8, 3))
    """
    if vae.conditioning == "none":
        if labels is not None:
            raise InputError("this model is not conditional: leave out the labels")
        return Rows(_in_rows(vae.sample(count, temperature=temperature, seed=seed)))
    labels = vae.class_names if labels is None else labels
    ids = vae.label_ids(labels, len(labels))
    columns = math.ceil(count / len(ids))
    if same_latents:
        images = np.stack([vae.sample(columns, label, temperature, seed) for label in ids])
    else:
        images = vae.sample(columns * len(ids), np.repeat(ids, columns), temperature, seed)
    return Rows(images.reshape(len(ids), columns, *vae.image_shape), [vae.class_names[label] for label in ids])


def reconstructions(vae: VAE, images: np.ndarray, labels=None) -> Rows:
    """Images, and what a VAE makes of them: a row of pairs for each class of a conditional one, else bands.

    Args:
        labels: ids (n,), for a conditional model; the classes' rows have the order in which they come.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> keras_ae.pictures.reconstructions(vae, np.ones((5, 8, 8, 3))).names
    ['original', 'decoded']
    """
    decoded = vae.reconstruct(images, labels)
    if labels is None:
        return comparison({"original": images, "decoded": decoded})
    pairs = np.stack([images, decoded], axis=1)
    ids = list(dict.fromkeys(np.asarray(labels).tolist()))
    parts = [pairs[labels == label].reshape(-1, *vae.image_shape) for label in ids]
    columns = max(map(len, parts))
    rows = np.stack([_filled(part, columns) for part in parts])
    return Rows(rows, [vae.class_names[label] for label in ids], "original and decoded, in pairs")


def interpolations(vae: VAE, images: np.ndarray, labels=None, *, steps: int = COLUMNS) -> Rows:
    """A row for each pair of images, one of the first half and one of the second: what lies between their codes.

    Args:
        images: (n, height, width, channels), 2 or more; of an odd number the last is left out.
        labels: ids (n,), for a conditional model; a row has the label of its first image.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> keras_ae.pictures.interpolations(vae, np.ones((4, 8, 8, 3))).images.shape
    (2, 8, 8, 8, 3)
    """
    pairs = len(images) // 2
    if not pairs:
        raise InputError("interpolations need two images or more")
    labels = None if labels is None else labels[:pairs]
    return Rows(vae.interpolate(images[:pairs], images[pairs : 2 * pairs], steps, labels))


def traversals(vae: VAE, images: np.ndarray, labels=None) -> Rows:
    """A row for each of the latents that matter most: the first image with that latent moved, as `VAE.traverse`.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> sorted(keras_ae.pictures.traversals(vae, np.ones((4, 8, 8, 3))).names)
    ['z0', 'z1']
    """
    latents, rows = vae.traverse(images, labels=labels)
    return Rows(rows, [f"z{latent}" for latent in latents])


def completions(vae: VAE, images: np.ndarray, mask: np.ndarray, labels=None, *, count: int = 4, seed: int = 0) -> Rows:
    """A row for each image: itself, what is known of it, and several completions by a VAE.

    Args:
        mask: 1 where a pixel is known, (n, height, width, 1).
        labels: ids (n,), for a conditional model.
        count: of completions.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> known = np.ones((1, 8, 8, 1))
    >>> known[:, :4] = 0
    >>> keras_ae.pictures.completions(vae, np.ones((1, 8, 8, 3)), known, count=2).images.shape
    (1, 4, 8, 8, 3)
    """
    completed = vae.complete(images, mask, count, labels=labels, noise=False, seed=seed)
    known = np.where(mask > 0, images, np.nan)
    rows = np.concatenate([images[:, None], known[:, None], completed], axis=1)
    names = None if labels is None else [vae.class_names[label] for label in labels]
    return Rows(rows, names, "original, masked, completions")


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
    if task.name != "segment" and task.corruption != "none":  # these restore images whose truth is not known, too
        task.check(dataset)
    parts = [_restored(model, task, part, places, mirrored) for part, places in _first(dataset, split, count)]
    if not parts:
        raise InputError(f"{dataset.name} has no {split} images to restore; choose another split")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _restored(model, task, split, places, mirrored) -> dict[str, np.ndarray]:
    if task.name == "segment" and not split.mask_levels:
        return _segmented(model, task, split.batch(places), mirrored)
    inputs, target, *_ = task.take(split, places)
    known, labels = inputs.get("mask"), inputs.get("label")
    output = restore_images(model, inputs["image"], mask=known, labels=labels, mirrored=mirrored)
    return task.rows(inputs, target, output)


def _segmented(model, task, batch, mirrored) -> dict[str, np.ndarray]:
    """Images whose true classes are not known, and the classes that the model gives their pixels."""
    labels = batch["label"] if task.label else None
    probabilities = restore_images(model, batch["image"], labels=labels, mirrored=mirrored)
    *_, (name, classes) = task.rows(batch, probabilities, probabilities).items()
    return {"image": batch["image"], name: classes}


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


def save_each(folder: Path | str, images: Iterable[np.ndarray], names: Iterable[str]) -> None:
    """Writes each image (height, width, 1 or 3) as a PNG of its own size into a new folder.

    Args:
        names: of the files, with folders and any suffix: `cats/a.jpg` becomes `cats/a.png`. Where that is taken,
            by an `a.png` beside it, the whole name stays: `cats/a.jpg.png`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    for image, name in zip(images, names, strict=True):
        path = (folder / name).with_suffix(".png")
        if path.exists():
            path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_picture(image).save(path)


def new_path(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist.

    >>> new_path(Path("samples.png")).name
    'samples.png'
    """
    candidate = path
    number = 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def vae_pictures(batch: dict[str, np.ndarray], seed: int = 0) -> Pictures:
    """For `ImageGrids`: the `reconstructions` and `samples` of a VAE. Inputs and latents are fixed, so that epochs
    compare.

    A conditional model's samples have one row per class (the first 16) and the same latents in each.

    Args:
        batch: the images (and labels) to reconstruct, as `Split.batch` gives them.
        seed: of the latents.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> draw = keras_ae.pictures.vae_pictures({"image": np.ones((4, 8, 8, 3)), "label": np.zeros(4)})
    >>> list(draw(vae, "epoch 1"))
    ['reconstructions', 'samples']
    """
    originals, labels = batch["image"][:SHOWN], batch["label"][:SHOWN]

    def pictures(vae, title):
        is_conditional = vae.conditioning != "none"
        decoded = vae.reconstruct(originals, labels if is_conditional else None)
        classes = vae.class_names[:SHOWN] if is_conditional else None
        count = COLUMNS * len(classes or range(COLUMNS))
        drawn = samples(vae, count, classes, seed=seed, same_latents=True)
        return {
            "reconstructions": comparison({"original": originals, "decoded": decoded}, title).picture(),
            "samples": replace(drawn, title=title).picture(),
        }

    return pictures


def task_pictures(task: Task, split: Split) -> Pictures:
    """For `ImageGrids`: what an autoencoder makes of the first images of a split, with what it is given and should
    make. They are corrupted once, so that epochs compare."""
    inputs, target, *_ = task.take(split, slice(0, SHOWN))

    def pictures(model, title):
        output = model.predict(inputs, verbose=0)
        return {task.name: comparison(task.rows(inputs, target, output), title).picture()}

    return pictures


def comparison(named: dict[str, np.ndarray], title: str | None = None) -> Rows:
    """Named rows of images (n, height, width, channels) one above the other, in bands of at most 8 columns.

    >>> comparison({"original": np.ones((10, 8, 8, 3)), "mask": np.ones((10, 8, 8, 1))}).names
    ['original', 'mask', 'original', 'mask']
    """
    channels = max(images.shape[-1] for images in named.values())
    coloured = [np.broadcast_to(images, (*images.shape[:3], channels)) for images in named.values()]
    bands = np.stack([_in_rows(images) for images in coloured], axis=1)
    return Rows(bands.reshape(-1, *bands.shape[2:]), [*named] * len(bands), title)


def _in_rows(images: np.ndarray) -> np.ndarray:
    """(n, ...) -> (rows, columns, ...): as few rows as hold them, and as few columns as these need."""
    rows = math.ceil(len(images) / COLUMNS)
    columns = math.ceil(len(images) / rows)
    return _filled(images, rows * columns).reshape(rows, columns, *images.shape[1:])


def _filled(images: np.ndarray, count: int) -> np.ndarray:
    """As many images as `count`, with NaN for those that are not there, which a grid leaves white."""
    empty = np.full((count - len(images), *images.shape[1:]), np.nan, "float32")
    return np.concatenate([images, empty])


def _first(dataset: Dataset, name: str, count: int | None):
    """The splits of that name that have images, each with the places of those among the first `count` of all."""
    for split in dataset.splits.values() if name == "all" else [dataset.splits[name]]:
        taken = len(split) if count is None else min(count, len(split))
        if count is not None:
            count -= taken
        if taken:
            yield split, slice(0, taken)


def grid(rows: np.ndarray, labels: list[str] | None = None, title: str | None = None) -> Image.Image:
    """One picture of `rows` (rows, columns, height, width, channels), float in [0, 1]; NaN stays white.

    Args:
        labels: a word for each row, written at its left.
        title: written above.

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
    picture = Image.new("RGB", (picture_width, top + rows.shape[0] * (height + GAP) + MARGIN), "white")
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
    """One image (height, width, 1 or 3), float in [0, 1], as an RGB picture."""
    pixels = np.rint(np.clip(np.nan_to_num(image, nan=1.0), 0, 1) * 255).astype("uint8")
    return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())


def animation(pictures: list[Path], path: Path, milliseconds: int = 400) -> None:
    """Shows PNGs of equal size one after the other, as a GIF or WebP by the suffix of `path`; the last one stays."""
    frames = []
    for picture in pictures:
        with Image.open(picture) as frame:
            frames.append(frame.copy())
    durations = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
