"""How near a restored image is to the true one: losses by name, and metrics as means over images."""

import keras
from keras import ops

from keras_ae.errors import InputError
from keras_ae.objectives.metrics import psnr


def ssim(image, other):
    """Structural similarity (batch,) of images in [0, 1] (Wang et al. 2004): a Gaussian window of 11 x 11
    and sigma 1.5, or as much of it as the image holds; the mean over channels and over whole windows."""
    size = min(11, *image.shape[1:3])
    return ops.image.ssim(image, other, filter_size=size - 1 + size % 2, data_format="channels_last")


@keras.saving.register_keras_serializable("keras_ae")
class SSIMLoss(keras.losses.Loss):
    """1 - SSIM of each image. Weights of single pixels do not apply, since a window spans many."""

    def __init__(self, name="ssim_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred, _of_images(sample_weight))

    def call(self, y_true, y_pred):
        return 1.0 - ssim(y_true, y_pred)


@keras.saving.register_keras_serializable("keras_ae")
class PSNR(keras.metrics.Mean):
    """Peak signal-to-noise ratio in dB, the mean over images in [0, 1].

    With `sample_weight` (batch, height, width), over the weighted pixels of each image.
    """

    def __init__(self, name="psnr", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        squared_error = ops.mean(ops.square(ops.cast(y_true, "float32") - ops.cast(y_pred, "float32")), axis=-1)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, "float32")
            squared_error = squared_error * sample_weight / ops.mean(sample_weight, axis=(1, 2), keepdims=True)
        return super().update_state(psnr(ops.mean(squared_error, axis=(1, 2))))


@keras.saving.register_keras_serializable("keras_ae")
class SSIM(keras.metrics.Mean):
    """Structural similarity, the mean over images in [0, 1]."""

    def __init__(self, name="ssim", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(ssim(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")))


LOSSES = {"mse": keras.losses.MeanSquaredError, "mae": keras.losses.MeanAbsoluteError, "ssim": SSIMLoss}


def get_loss(name: str) -> keras.losses.Loss:
    """The loss of that name; weighted pixels count by their weights alone.

    Raises:
        InputError: no such name.
    """
    if name not in LOSSES:
        raise InputError(f"unknown loss '{name}'; known are {', '.join(LOSSES)}")
    return LOSSES[name](reduction="mean_with_sample_weight")


def _of_images(sample_weight):
    return None if sample_weight is not None and len(sample_weight.shape) > 1 else sample_weight
