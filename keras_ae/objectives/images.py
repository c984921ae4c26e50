"""How near a restored image is to the true one: losses by name, and metrics as means over images."""

import math

import keras
from keras import ops

from keras_ae.errors import one_of


def psnr(squared_error):
    """Peak signal-to-noise ratio in dB of images in [0, 1], from their mean squared error per pixel (batch,).

    >>> round(float(psnr(ops.array([0.01]))[0]), 3)
    20.0
    """
    return -10.0 * ops.log10(ops.maximum(squared_error, 1e-10))


def ssim(image, other):
    """Structural similarity (batch,) of images in [0, 1] (Wang et al. 2004, equation 13): a Gaussian window of
    11 x 11 and sigma 1.5, or as much of it as the images hold; the mean over channels and over whole windows.

    `keras.ops.image.ssim` is the same by two-dimensional convolutions of one channel, which take 2 to 15 times as long.
    """
    moments = _windows(ops.stack([image, other, image * image, other * other, image * other]))
    mean, other_mean = moments[0], moments[1]
    variance, other_variance = moments[2] - mean * mean, moments[3] - other_mean * other_mean
    covariance = moments[4] - mean * other_mean
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean * other_mean + c1) * (2 * covariance + c2)
    total = (mean * mean + other_mean * other_mean + c1) * (variance + other_variance + c2)
    return ops.mean(likeness / total, axis=(1, 2, 3))


def _windows(x):
    """Gaussian means of x (..., height, width, channels) over whole windows, first along height, then width."""
    size = min(11, *x.shape[-3:-1])
    size -= 1 - size % 2
    weights = [math.exp(-0.5 * ((place - size // 2) / 1.5) ** 2) for place in range(size)]
    for axis in (-3, -2):
        length = x.shape[axis] - size + 1
        parts = [
            weight / sum(weights) * (x[..., n : n + length, :, :] if axis == -3 else x[..., n : n + length, :])
            for n, weight in enumerate(weights)
        ]
        x = sum(parts)
    return x


@keras.saving.register_keras_serializable("keras_ae")
class SSIMLoss(keras.losses.Loss):
    """1 - SSIM of each image. Weights of single pixels do not apply, since a window spans many.

    >>> image = ops.ones((1, 16, 16, 3)) / 2
    >>> abs(float(SSIMLoss()(image, image))) < 1e-6
    True
    """

    def __init__(self, name="ssim_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred, _of_images(sample_weight))

    def call(self, y_true, y_pred):
        return 1.0 - ssim(y_true, y_pred)


@keras.saving.register_keras_serializable("keras_ae")
class PSNRLoss(keras.losses.Loss):
    """Minus the peak signal-to-noise ratio in dB, the mean over images (Chen et al. 2022, "Simple baselines for image
    restoration"): an image that is easy to restore counts as much as a hard one.

    Weights of single pixels choose those that count, as in `PSNR`.

    >>> image = ops.ones((1, 8, 8, 3)) / 2
    >>> round(float(PSNRLoss()(image, image + 0.1)), 2)
    -20.0
    """

    def __init__(self, name="psnr_loss", reduction="mean_with_sample_weight", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        decibel, weight = _psnr(y_true, y_pred, sample_weight)
        if self.reduction is None or self.reduction == "none":
            return -decibel * weight
        total = -ops.sum(decibel * weight)
        if self.reduction == "sum":
            return total
        if self.reduction == "mean_with_sample_weight":
            return total / ops.maximum(ops.sum(weight), 1e-7)
        return total / ops.cast(ops.shape(decibel)[0], "float32")


@keras.saving.register_keras_serializable("keras_ae")
class PSNR(keras.metrics.Mean):
    """Peak signal-to-noise ratio in dB, the mean over images in [0, 1].

    With `sample_weight` (batch, height, width), over the weighted pixels of each image that has any; (batch,): a
    weighted mean over images.

    >>> metric = PSNR()
    >>> image = ops.ones((1, 8, 8, 3)) / 2
    >>> _ = metric.update_state(image, image + 0.1)
    >>> round(float(metric.result()), 2)
    20.0
    """

    def __init__(self, name="psnr", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        decibel, weight = _psnr(y_true, y_pred, sample_weight)
        return super().update_state(decibel, sample_weight=weight)


def _psnr(image, other, sample_weight):
    """PSNR (batch,) of each image, and its weight (batch,): the one given, or 1 if any of its pixels has a weight."""
    squared_error = ops.mean(ops.square(ops.cast(image, "float32") - ops.cast(other, "float32")), axis=-1)
    weight = ops.ones_like(squared_error) if sample_weight is None else ops.cast(sample_weight, "float32")
    if len(weight.shape) == 1:
        return psnr(ops.mean(squared_error, axis=(1, 2))), weight
    total = ops.sum(weight, axis=(1, 2))
    mean = ops.sum(squared_error * weight, axis=(1, 2)) / ops.maximum(total, 1e-7)
    return psnr(mean), ops.cast(total > 0, "float32")


@keras.saving.register_keras_serializable("keras_ae")
class SSIM(keras.metrics.Mean):
    """Structural similarity, the mean over images in [0, 1], weighted by `sample_weight` (batch,).

    Weights of single pixels do not apply, since a window spans many.

    >>> metric = SSIM()
    >>> image = ops.ones((1, 16, 16, 3)) / 2
    >>> _ = metric.update_state(image, image)
    >>> round(float(metric.result()), 4)
    1.0
    """

    def __init__(self, name="ssim", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        similarity = ssim(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32"))
        return super().update_state(similarity, sample_weight=_of_images(sample_weight))


LOSSES = {
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "ssim": SSIMLoss,
    "psnr": PSNRLoss,
}


def get_loss(name: str) -> keras.losses.Loss:
    """The loss of that name; weighted pixels count by their weights alone.

    Raises:
        InputError: no such name.

    >>> get_loss("ssim").name
    'ssim_loss'
    """
    one_of(name, LOSSES, "loss")
    return LOSSES[name](reduction="mean_with_sample_weight")


def _of_images(sample_weight):
    return None if sample_weight is not None and len(sample_weight.shape) > 1 else sample_weight
