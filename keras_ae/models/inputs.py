"""Images, masks and labels that come in as arrays: one rule for each."""

from numbers import Integral

import numpy as np

from keras_ae.errors import InputError

MOST_CLASSES = 100_000
LONGEST_NAME = 200
ROUNDING = 1e-3  # so far beyond 0 and 1 is taken for arithmetic, not for another range


def checked_images(images: np.ndarray, shape: tuple) -> np.ndarray:
    """The images as float32 (n, height, width, channels).

    Args:
        shape: (height, width, channels) of the model.

    Raises:
        InputError: they have another shape, hold something that is not finite, or lie outside [0, 1].
    """
    return _in_range(_shaped(images, shape))


def checked_inputs(
    images: np.ndarray, mask: np.ndarray | None, shape: tuple, *, takes_mask: bool, unclipped: bool = False
) -> dict[str, np.ndarray]:
    """What a model that restores takes, by name: `image` and, if it completes, `mask`.

    Args:
        shape: (height, width, channels) of the model.
        unclipped: let images without a mask lie outside [0, 1].

    Raises:
        InputError: as `checked_images` and `checked_known`; a mask is missing, or the model takes none.
    """
    if takes_mask != (mask is not None):
        raise InputError(f"this model takes {'a' if takes_mask else 'no'} mask")
    if takes_mask:
        images, mask = checked_known(images, mask, shape)
        return {"image": images, "mask": mask}
    return {"image": _finite(_shaped(images, shape)) if unclipped else checked_images(images, shape)}


def checked_known(images: np.ndarray, mask: np.ndarray, shape: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The images with 0 for what is missing, whatever they hold there, and the mask (n, height, width, 1).

    Args:
        mask: 1 where a pixel is known and 0 where it is missing, (n, height, width) or with a last axis of 1.
        shape: (height, width, channels) of the model.

    Raises:
        InputError: as `checked_images`; or the mask is of another shape, holds other numbers, or leaves nothing of
            an image.
    """
    images = _shaped(images, shape)
    mask = np.asarray(mask, "float32")
    mask = mask[..., None] if mask.ndim == 3 else mask
    if mask.shape != (*images.shape[:3], 1):
        n, height, width = images.shape[:3]
        raise InputError(f"the mask has the shape {mask.shape}; these images take ({n}, {height}, {width}, 1)")
    if not np.isin(mask, (0, 1)).all():
        raise InputError("the mask holds other numbers than 1 (known) and 0 (missing)")
    empty = np.flatnonzero(~mask.any(axis=(1, 2, 3)))
    if len(empty):
        raise InputError(f"all pixels of image {empty[0]} are missing; at least one must be known")
    return _in_range(np.where(mask > 0, images, np.float32(0))), mask


def checked_labels(labels, n: int, class_names) -> np.ndarray:
    """Ids (n,) int32 for ids or class names, one for all images or one each.

    Args:
        n: how many images there are.
        class_names: in the order of the ids.

    Raises:
        InputError: labels are missing, unknown, or too few or many.
    """
    last = len(class_names) - 1
    known = f"0 to {last}" if isinstance(class_names, range) else f"{', '.join(class_names)}, or 0 to {last}"
    if labels is None:
        raise InputError(f"this model is conditional: give labels, of {known}")
    ids = [
        class_names.index(label) if label in class_names else label
        for label in (labels if isinstance(labels, list) else np.atleast_1d(labels).tolist())
    ]
    for number in ids:
        if not isinstance(number, Integral) or not 0 <= number <= last:
            raise InputError(f"unknown label '{number}'; known are {known}")
    if len(ids) not in (1, n):
        raise InputError(f"{len(ids)} labels for {n} images; give one for all or one each")
    return np.broadcast_to(np.array(ids, "int32"), (n,)).copy()


def checked_class_names(names) -> None:
    """Returns if they are the names of classes.

    Raises:
        InputError: one is no text, is empty or longer than a name, or there are more than any data set has.
    """
    if len(names) > MOST_CLASSES:
        raise InputError(f"{len(names):,} class names; give at most {MOST_CLASSES:,}")
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise InputError(
                f"the class name {str(name)[:50]!r} is not possible; give a text of 1 to {LONGEST_NAME} letters"
            )


def refuse_labels(labels) -> None:
    """Raises an `InputError` where labels are given to a model that takes none."""
    if labels is not None:
        raise InputError(f"this model takes no labels; leave out {str(labels)[:50]}")


def _shaped(images, shape):
    images = np.asarray(images, "float32")
    if images.ndim != 4 or images.shape[1:] != tuple(shape) or not len(images):
        raise InputError(f"images have the shape {images.shape}; this model takes (n, {str(tuple(shape))[1:-1]})")
    return images


def _finite(images):
    if not np.isfinite((images.min(), images.max())).all():  # NaN if there is one
        first = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0]
        raise InputError(f"image {first} holds numbers that are not finite; fix it or leave it out")
    return images


def _in_range(images):
    low, high = _finite(images).min(), images.max()
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(f"the images lie between {low:g} and {high:g}; give [0, 1] (bytes: divide by 255)")
    return images
