"""Images of any size through a convolutional autoencoder that was trained on images of one."""

from functools import partial

import keras
import numpy as np
from keras import layers
from keras.src.models.functional import Functional

from keras_ae.errors import InputError
from keras_ae.models.inputs import checked_inputs
from keras_ae.models.restoration import restored

STEP = 32  # pixels: sides are padded to a multiple, so that few sizes are compiled
TILE, OVERLAP = 512, 64  # pixels of a side
INSTEAD = "Give it crops of its own size (restore_images; train/sample.py without --separate), or train another"


class PhotographRestorer:
    """Denoises, completes or reconstructs images of any size, one at a time.

    The model's layers are applied to the whole image, mirrored at its lower and right edges up to a multiple of 32
    pixels. An image with a side of more than 512 pixels is restored in tiles, whose overlap is blended linearly. A grey
    image through a model of colours is three channels alike, whose mean is its result; of an image of colours through a
    model of greys each channel is restored alone.

    Args:
        model: as `conv_autoencoder` makes it, without labels, and with `skip_connections` or a code that has a place
            for each of the last level's.

    Raises:
        InputError: the model is no autoencoder, has labels, or a code of fixed places.

    >>> import keras_ae
    >>> model = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, task="denoise", skip_connections=True, width=4)
    >>> keras_ae.PhotographRestorer(model)(np.zeros((50, 70, 1))).shape
    (50, 70, 1)
    """

    def __init__(self, model: keras.Model):
        names = {tensor.name for tensor in getattr(model, "inputs", None) or []}
        if "image" not in names:
            raise InputError(f"a {type(model).__name__} restores no photographs; give an autoencoder")
        if "label" in names:
            raise InputError(f"this model takes labels, which say nothing of a part of a photograph. {INSTEAD}")
        window = model.get_layer("encoder").get_layer("code").kernel_size
        if window != (1, 1):
            raise InputError(
                "this model is of images of one size: each place of its code stands for a part of them, of "
                f"{window[0]}x{window[1]} places of the level before. {INSTEAD}"
            )
        self.model = model
        self.channels = model.inputs[0].shape[-1]
        self.takes_mask = "mask" in names
        halvings = sum(getattr(layer, "strides", 1) == (2, 2) for layer in model.get_layer("encoder").layers)
        self.step = max(STEP, 2**halvings)
        self._of_sizes = {}

    def __call__(self, image: np.ndarray, mask: np.ndarray | None = None, **kwargs) -> np.ndarray:
        """The restored image.

        Args:
            image: (height, width, channels) in [0, 1], 1 or 3 of the latter.
            mask: 1 where a pixel is known and 0 where it is missing, (height, width), for a model that completes.
            **kwargs: `mirrored` and `unclipped`, as `restore_images` takes them.

        Returns:
            (height, width, channels), float32 in [0, 1].

        Raises:
            InputError: as `restore_images`; a hole as large as a tile.
        """
        return self.restore(image[None], None if mask is None else np.asarray(mask)[None], **kwargs)[0]

    def restore(
        self,
        images: np.ndarray,
        masks: np.ndarray | None = None,
        *,
        mirrored: bool = False,
        unclipped: bool = False,
    ) -> np.ndarray:
        """Several images of one size at once, (n, height, width, channels); otherwise as for one."""
        shape = images.shape
        inputs = checked_inputs(images, masks, shape[1:], takes_mask=self.takes_mask, unclipped=unclipped)
        inputs["image"] = self._as_the_model_has_them(inputs["image"])
        if self.takes_mask:
            inputs["mask"] = np.repeat(inputs["mask"], len(inputs["image"]) // len(images), axis=0)
        found = restored(lambda inputs: self._whole(list(inputs.values())), inputs, mirrored)
        if self.channels == 1:
            return np.moveaxis(found.reshape(shape[0], shape[-1], *shape[1:3]), 1, -1)
        return found if shape[-1] == self.channels else found.mean(-1, keepdims=True)

    def _as_the_model_has_them(self, images: np.ndarray) -> np.ndarray:
        if self.channels == 1:
            return np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3], 1)
        if images.shape[-1] not in (1, self.channels):
            raise InputError(f"this model restores {self.channels} channels, and the image has {images.shape[-1]}")
        return np.repeat(images, self.channels // images.shape[-1], axis=-1)

    def _whole(self, inputs: list[np.ndarray]) -> np.ndarray:
        """(n, height, width, channels) of inputs of any height and width, tile by tile."""
        size = inputs[0].shape[1:3]
        padding = [(0, 0), *((0, -side % self.step) for side in size), (0, 0)]
        inputs = [np.pad(x, padding, "symmetric") for x in inputs]
        padded = inputs[0].shape[1:3]
        sides = [min(side, TILE) for side in padded]
        weight = np.multiply.outer(*map(_ramp, sides))[..., None]
        total = np.zeros((*inputs[0].shape[:3], self.model.output_shape[-1]), "float32")
        weights = np.zeros((*padded, 1), "float32")
        for top in _starts(padded[0]):
            for left in _starts(padded[1]):
                rows, columns = slice(top, top + sides[0]), slice(left, left + sides[1])
                total[:, rows, columns] += weight * self._tile([x[:, rows, columns] for x in inputs])
                weights[rows, columns] += weight
        total /= weights
        return total[:, : size[0], : size[1]]

    def _tile(self, inputs: list[np.ndarray]) -> np.ndarray:
        if self.takes_mask and not inputs[1].any(axis=(1, 2, 3)).all():
            raise InputError(f"a hole is as large as {TILE}x{TILE} pixels: nothing around it says what is missing")
        size = inputs[0].shape[1:3]
        if size not in self._of_sizes:
            self._of_sizes[size] = of_size(self.model, size)
        return self._of_sizes[size].predict_on_batch(inputs)


def of_size(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """The same layers for images of another (height, width), both multiples of what the model halves them by."""
    return _of_shapes(model, [(*size, tensor.shape[-1]) for tensor in model.inputs])


def _of_shapes(model, shapes) -> keras.Model:
    inputs = [keras.Input(shape, name=tensor.name) for shape, tensor in zip(shapes, model.inputs, strict=True)]
    outputs = model._run_through_graph(inputs, _operation)
    outputs = outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs
    return keras.Model(inputs, outputs, name=model.name)


def _called(model, *inputs, **_):
    inputs = keras.tree.flatten(inputs)
    return _of_shapes(model, [tensor.shape[1:] for tensor in inputs])(inputs)


def _operation(layer):
    if isinstance(layer, Functional):
        return partial(_called, layer)
    if isinstance(layer, layers.Cropping2D):  # of a side that was rounded up when it was halved
        return lambda x: x
    return layer


def _starts(side: int) -> list[int]:
    """Of the fewest tiles of at most `TILE` pixels that overlap by `OVERLAP` or more."""
    count = 1 + -(-max(0, side - TILE) // (TILE - OVERLAP))
    return np.linspace(0, max(0, side - TILE), count).round().astype(int).tolist()


def _ramp(side: int) -> np.ndarray:
    """The weights of a tile's pixels: linear over the overlap on both sides."""
    distance = np.arange(side) + 0.5
    return np.minimum(1, np.minimum(distance, distance[::-1]) / OVERLAP).astype("float32")
