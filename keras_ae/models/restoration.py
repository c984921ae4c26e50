"""What a trained convolutional autoencoder is used for: arrays in, arrays out."""

from collections.abc import Callable

import keras
import numpy as np

from keras_ae.layers import OneHot
from keras_ae.models.inputs import checked_inputs, checked_labels, refuse_labels

BATCH_SIZE = 128


def restore_images(
    model: keras.Model,
    images: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    labels=None,
    mirrored: bool = False,
    unclipped: bool = False,
) -> np.ndarray:
    """Reconstructs, denoises, completes or segments, as the model has learnt.

    Args:
        model: as `conv_autoencoder` makes it.
        images: (n, height, width, channels) in [0, 1].
        mask: 1 where a pixel is known and 0 where it is missing, (n, height, width) or with a last axis
            of 1; for a model that completes. What the images hold at missing pixels is not looked at.
        labels: ids, one for each image or one for all, for a conditional model.
        mirrored: the mean with what the model makes of the mirrored images, mirrored back (the self-ensemble of
            Lim et al. 2017, section 3.4): twice the time, and a little nearer for a model trained with `flip`.
        unclipped: let noisy images lie outside [0, 1], for a model trained on `unclipped_gaussian` noise.

    Returns:
        Images (n, height, width, channels) float32 in [0, 1]; of a model that segments the
        probabilities (n, height, width, mask_classes).

    Raises:
        InputError: an array is missing, too much or of the wrong shape, not finite or outside [0, 1]; all pixels of an
            image are missing.

    >>> import keras_ae, numpy as np
    >>> model = keras_ae.conv_autoencoder((8, 8, 1), 2, 4, task="complete", skip_connections=True, width=4)
    >>> known = np.ones((1, 8, 8))
    >>> known[:, 2:5, 2:5] = 0
    >>> keras_ae.restore_images(model, np.zeros((1, 8, 8, 1)), mask=known).shape
    (1, 8, 8, 1)
    """
    names = {tensor.name for tensor in model.inputs}
    shape = next(tensor.shape[1:] for tensor in model.inputs if tensor.name == "image")
    inputs = checked_inputs(images, mask, shape, takes_mask="mask" in names, unclipped=unclipped)
    if "label" in names:
        inputs["label"] = checked_labels(labels, len(images), range(classes_of(model)))
    else:
        refuse_labels(labels)
    return restored(lambda inputs: model.predict(inputs, batch_size=BATCH_SIZE, verbose=0), inputs, mirrored)


def restored(function: Callable, inputs: dict[str, np.ndarray], mirrored: bool) -> np.ndarray:
    """What a function makes of a model's inputs, clipped to [0, 1]; with `mirrored` the mean with what it makes of the
    mirrored images, mirrored back."""
    images = function(inputs)
    if mirrored:
        inputs = {name: values[:, :, ::-1] if name != "label" else values for name, values in inputs.items()}
        images = (images + function(inputs)[:, :, ::-1]) / 2
    return np.clip(images, 0, 1, dtype="float32")


def classes_of(model: keras.Model) -> int:
    """How many classes the decoder, which every conditional model gives the label, tells apart."""
    return next(layer.num_classes for layer in model.get_layer("decoder").layers if isinstance(layer, OneHot))
