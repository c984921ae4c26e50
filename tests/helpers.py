"""What several tests need."""

import io
import json
import os
import re
import signal
import zipfile
from contextlib import contextmanager

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import runs
from keras_ae.files import CHECKSUM
from keras_ae.trust import CONFIG, METADATA, WEIGHTS

CLASSES = ["a", "b", "c"]
ONCE = keras.backend.backend() == "torch"  # the backend that starts fastest


def once(why: str):
    """Runs a test on one backend only."""
    return pytest.mark.skipif(not ONCE, reason=f"on torch only: {why}")


@contextmanager
def dtype_policy(name: str):
    """Layers that are built within it have this policy."""
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def small_vae(image_shape=(8, 8, 3), latent_dim=4, conditioning="decoder", **kwargs) -> keras_ae.VAE:
    """The standard networks, 16 features wide, with weights that depend on nothing but the seed."""
    vae = keras_ae.conv_vae(image_shape, latent_dim, class_names=CLASSES, conditioning=conditioning, width=4, **kwargs)
    set_weights(vae.encoder.weights + vae.decoder.weights)
    return vae


def set_weights(weights, spread: float = 0.15) -> None:
    """Sets them to the same numbers on every backend."""
    random = np.random.default_rng(1)
    for weight in weights:
        weight.assign(random.normal(0, spread, weight.shape).astype("float32"))


def train_vae(dataset, folder, **kwargs) -> keras_ae.VAE:
    """Three epochs of 8 steps, from where the folder says."""
    vae = small_vae(kl_warmup_steps=5)
    vae.compile(keras.optimizers.Adam(1e-2))
    folder.mkdir(exist_ok=True)
    keras_ae.fit(vae, dataset, folder, epochs=3, batch_size=8, seed=2, flip=True, **kwargs)
    return vae


def same_run(whole, parts) -> None:
    """Asserts that two run folders hold the same files: states and models in each value, the others bit by bit."""
    names = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in parts.iterdir()) == names
    for name in names:
        if name != ".process":  # which holds the number of the last process
            one, other = _content(whole / name), _content(parts / name)
            assert one.keys() == other.keys(), name
            for part in one:
                np.testing.assert_array_equal(one[part], other[part], err_msg=f"{name}: {part}")


def _content(path) -> dict:
    """What a file of a run says, but for the run's own name."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    if path.suffix == ".json":
        return _without_places(json.loads(path.read_text()))
    if path.suffix != ".keras":
        return {"bytes": path.read_bytes()}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS))) as weights:
        content = {}
        weights.visititems(
            lambda name, item: content.update({name: item[()]} if isinstance(item, h5py.Dataset) else {})
        )
        # Keras counts the models of a process: vae_1, vae_2
        config = re.sub(r'(_\d+)+"', '"', archive.read(CONFIG).decode())
        about = json.loads(archive.read(METADATA)) if METADATA in archive.namelist() else {}
        return content | {"config": config} | _without_places(about)


def _without_places(about: dict) -> dict:
    flags = {name: value for name, value in about.get("flags", {}).items() if name not in runs.PLACES}
    return {name: json.dumps(value) for name, value in {**about, "flags": flags}.items() if name != CHECKSUM}


def batch(n=6, image_shape=(8, 8, 3), seed=0) -> dict:
    random = np.random.default_rng(seed)
    return {
        "image": random.random((n, *image_shape), dtype="float32"),
        "label": random.integers(0, len(CLASSES), n).astype("int32"),
    }


class Fed(keras.utils.PyDataset):
    """Batches as a data set gives them: not looked at before they are trained on."""

    def __init__(self, images, batch_size, labels=None, weights=None):
        super().__init__()
        self.images = images
        self.batch_size = batch_size
        self.labels = labels
        self.weights = weights

    def __len__(self):
        return len(self.images) // self.batch_size

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        batch = {"image": self.images[rows]}
        if self.labels is not None:
            batch["label"] = self.labels[rows]
        return batch if self.weights is None else (batch, batch["image"], self.weights[rows])


class SignalAt(keras.callbacks.Callback):
    """Sends the process a signal in one step, counted from the start of this training."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def variables(model) -> list[np.ndarray]:
    """Copies of all weights, seed states and optimizer variables."""
    return [
        keras.ops.convert_to_numpy(variable.value).copy()
        for variable in [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
    ]


def run_layer_or_model(build, inputs, tmp_path, *, fit=None) -> None:
    """Construct, config round trip, fit a step, save, load, equal output: for every layer and model.

    Args:
        build: makes the layer or model.
        inputs: what it is called with.
        fit: keyword arguments of `fit`, for models that train.
    """
    built = build()
    built(inputs)
    copy = type(built).from_config(built.get_config())
    assert copy.get_config() == built.get_config()
    if fit:
        built.compile("adam")
        built.fit(verbose=0, **fit)
    model = built
    if not isinstance(built, keras.Model):
        tensor = keras.Input(inputs.shape[1:], dtype=inputs.dtype)
        model = keras.Model(tensor, built(tensor))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = keras.ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loaded(inputs)), expected, atol=1e-6)


def folder_with_masks(path, levels=(0, 255)):
    """Six images of 9x9 whose red and blue are their mask's value, and the masks beside them."""
    path.mkdir()
    for number in range(6):
        mask = np.full((9, 9), levels[0], "uint8")
        mask[2:6, number : number + 3] = levels[-1]
        Image.fromarray(np.dstack([mask, 255 - mask, mask])).save(path / f"{number}.png")
        Image.fromarray(mask).save(path / f"{number}_mask.png")
    return path
