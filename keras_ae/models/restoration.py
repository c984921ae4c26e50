"""What a trained convolutional autoencoder is used for: arrays in, arrays out."""

import keras
import numpy as np

from keras_ae.errors import InputError
from keras_ae.layers import OneHot
from keras_ae.models.inputs import checked_images, checked_known

BATCH_SIZE = 128


def restore_images(
    model: keras.Model, images: np.ndarray, *, mask: np.ndarray | None = None, labels=None, mirrored: bool = False
) -> np.ndarray:
    """Reconstructs, denoises, completes or segments, as the model has learnt.

    Args:
        model: as `conv_autoencoder` makes it.
        images: (n, height, width, channels) in [0, 1].
        mask: 1 where a pixel is known and 0 where it is missing, (n, height, width) or with a last axis
            of 1; for a model that completes. What the images hold at missing pixels is not looked at.
        labels: ids (n,), for a conditional model.
        mirrored: the mean with what the model makes of the mirrored images, mirrored back (the self-ensemble of
            Lim et al. 2017, section 3.4): twice the time, and a little nearer for a model trained with `flip`.

    Returns:
        Images (n, height, width, channels) float32 in [0, 1]; of a model that segments the
        probabilities (n, height, width, mask_classes).

    Raises:
        InputError: an array is missing, too much or of the wrong shape, not finite or outside [0, 1]; all pixels of an
            image are missing.
    """
    names = {tensor.name for tensor in model.inputs}
    shape = next(tensor.shape[1:] for tensor in model.inputs if tensor.name == "image")
    for name, given in (("mask", mask), ("label", labels)):
        if (name in names) != (given is not None):
            raise InputError(f"this model takes {'a' if name in names else 'no'} {name}")
    if mask is None:
        inputs = {"image": checked_images(images, shape)}
    else:
        inputs = dict(zip(("image", "mask"), checked_known(images, mask, shape), strict=True))
    if labels is not None:
        inputs["label"] = _checked_labels(model, labels, len(images))
    restored = model.predict(inputs, batch_size=BATCH_SIZE, verbose=0)
    if mirrored:
        inputs = {name: values[:, :, ::-1] if name != "label" else values for name, values in inputs.items()}
        restored = (restored + model.predict(inputs, batch_size=BATCH_SIZE, verbose=0)[:, :, ::-1]) / 2
    return np.clip(restored, 0, 1, dtype="float32")


def _checked_labels(model: keras.Model, labels, n: int) -> np.ndarray:
    classes = next(layer.num_classes for layer in model.get_layer("decoder").layers if isinstance(layer, OneHot))
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or (labels < 0).any() or (labels >= classes).any():
        raise InputError(f"{n} images take {n} labels from 0 to {classes - 1}; given were {labels.tolist()}"[:200])
    return labels.astype("int32")
