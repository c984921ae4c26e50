"""What a trained convolutional autoencoder is used for: arrays in, arrays out."""

import keras
import numpy as np

from keras_ae.errors import InputError
from keras_ae.layers import OneHot

BATCH_SIZE = 128


def restore_images(
    model: keras.Model, images: np.ndarray, *, mask: np.ndarray | None = None, labels=None
) -> np.ndarray:
    """Reconstructs, denoises, completes or segments, as the model has learnt.

    Args:
        model: as `conv_autoencoder` makes it.
        images: (n, height, width, channels) in [0, 1].
        mask: 1 where a pixel is known and 0 where it is missing, (n, height, width) or with a last axis
            of 1; for a model that completes. What the images hold at missing pixels is not looked at.
        labels: ids (n,), for a conditional model.

    Returns:
        Images (n, height, width, channels) float32 in [0, 1]; of a model that segments the
        probabilities (n, height, width, mask_classes).

    Raises:
        InputError: an array is missing, too much or of the wrong shape; all pixels of an image are missing.
    """
    names = {tensor.name for tensor in model.inputs}
    shape = next(tensor.shape[1:] for tensor in model.inputs if tensor.name == "image")
    images = np.asarray(images, "float32")
    if images.ndim != 4 or images.shape[1:] != shape:
        raise InputError(f"images have the shape {images.shape}; this model takes (n, {str(shape)[1:-1]})")
    for name, given in (("mask", mask), ("label", labels)):
        if (name in names) != (given is not None):
            raise InputError(f"this model takes {'a' if name in names else 'no'} {name}")
    inputs = {"image": images}
    if mask is not None:
        inputs["mask"] = checked_mask(mask, images)
        inputs["image"] = np.where(inputs["mask"] > 0, images, np.float32(0))
    if labels is not None:
        inputs["label"] = _checked_labels(model, labels, len(images))
    return np.clip(model.predict(inputs, batch_size=BATCH_SIZE, verbose=0), 0, 1, dtype="float32")


def checked_mask(mask: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The mask of known pixels as (n, height, width, 1) float32 zeros and ones.

    Raises:
        InputError: it is of another shape, holds other numbers, or leaves nothing of an image.
    """
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
    return mask


def _checked_labels(model: keras.Model, labels, n: int) -> np.ndarray:
    classes = next(layer.num_classes for layer in model.get_layer("decoder").layers if isinstance(layer, OneHot))
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or (labels < 0).any() or (labels >= classes).any():
        raise InputError(f"{n} images take {n} labels from 0 to {classes - 1}; given were {labels.tolist()}"[:200])
    return labels.astype("int32")
