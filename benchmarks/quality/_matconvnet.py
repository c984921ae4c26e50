"""Published denoisers in MatConvNet's files (Zhang et al. 2017 "Beyond a Gaussian denoiser"; 2018, "FFDNet")."""

from pathlib import Path

import h5py
import numpy as np

from keras_ae.errors import InputError

IGNORED = ("relu", "concat", "loss")  # between the convolutions; "concat" joins the noise's level


class Denoiser:
    """A file of convolutions with ReLUs between, of HDF5 (MATLAB 7.3). It gives the noise that it finds, if it takes
    what it gives; if it takes another channel, that is the noise's standard deviation, and it gives the image.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        import keras

        self.path = path
        kernels, biases = zip(*_convolutions(path), strict=True)
        taken, self.channels = kernels[0].shape[2], kernels[-1].shape[3]
        self.takes_level = taken > self.channels
        filters = [kernel.shape[3] for kernel in kernels]
        layers = [keras.layers.Conv2D(n, 3, padding="same", activation="relu") for n in filters[:-1]]
        last = keras.layers.Conv2D(filters[-1], 3, padding="same")
        self.network = keras.Sequential([keras.Input((None, None, taken)), *layers, last])
        self.network.set_weights([array for pair in zip(kernels, biases, strict=True) for array in pair])

    def __call__(self, images: np.ndarray, sigma: float) -> np.ndarray:
        """(n, height, width, channels) without its noise of that standard deviation.

        Raises:
            InputError: it is of other channels.
        """
        if images.shape[-1] != self.channels:
            raise InputError(f"{self.path.name} is of {self.channels} channels, the images have {images.shape[-1]}")
        if not self.takes_level:
            return images - self.network.predict(images, verbose=0)
        level = np.full((*images.shape[:3], 1), sigma, "float32")
        return self.network.predict(np.concatenate([images, level], -1), verbose=0)


def _convolutions(path: Path):
    """The kernels (height, width, in, out) and biases."""
    with h5py.File(path) as file:
        for reference in file["net/layers"][()].flat:
            layer = file[reference]
            kind = bytes(layer["type"][()].astype("uint8")).decode()
            if kind in IGNORED:
                continue
            if kind != "conv":
                raise InputError(f"{path.name} has a layer {kind!r}; give a file of convolutions and ReLUs")
            kernel, bias = (file[part][()] for part in layer["weights"][()].flat)
            kernel = kernel if kernel.ndim == 4 else kernel[None]  # MATLAB drops a last axis of 1
            yield kernel.transpose(3, 2, 1, 0), bias.ravel()
