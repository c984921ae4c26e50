"""A small training, on one device or several, and how to start it on two."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

import keras_ae
from keras_ae import backends, callbacks, data, pictures, training
from tests.helpers import dtype_policy, set_weights

ROOT = Path(__file__).parent.parent.parent
SIMULATED = "--xla_force_host_platform_device_count=2"
POISONED = 7  # the row of a training image that is not finite
KINDS = ("statistics", "conv_ae", "vq", "fsq", "iwae", "mixed")
CONVOLUTIONAL = ("vq", "fsq", "mixed")
STOP_AT = 6  # a step of the second epoch


@dataclass(frozen=True)
class Poisoned(data.Split):
    """A split of which one image is not finite: one replica meets it, and all skip the step."""

    draws_pixels = True

    def batch(self, places, **kwargs):
        batch = super().batch(places, **kwargs)
        batch["image"][self.indices[places] == POISONED] = np.nan
        return batch


class SignalToOne(keras.callbacks.Callback):
    """Sends the last process a signal before a step, counted from the start of this training."""

    def on_train_begin(self, logs=None):
        self.left = STOP_AT

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0 and backends.world().process == backends.world().processes - 1:
            os.kill(os.getpid(), signal.SIGTERM)


def model(kind: str):
    """A model of which each part asks something of all replicas, and the task that it is trained for."""
    if kind == "conv_ae":
        task = keras_ae.get_task("denoise")
        made = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4, task="denoise")
        made.compile(keras.optimizers.Adam(1e-2, global_clipnorm=0.1), **task.measures(made))
        return made, task
    parts = {
        "statistics": {"likelihood": "gaussian", "free_bits": 0.4, "regularizers": ["tc:2"], "kl_warmup_steps": 6},
        "vq": {"latent": "vq:6"},
        "fsq": {"latent": keras_ae.latents.FSQ((3, 4), entropy=0.1)},
        "iwae": {"objective": "iwae:3", "prior": "mixture:2"},
        "mixed": {},
    }[kind]
    size = (2, 2) if "latent" in parts else 3
    network = "conv" if kind in CONVOLUTIONAL else "mlp"
    made = keras_ae.build_vae((8, 8, 3), size, network=network, width=4, seed=1, **parts)
    steps = None if keras.backend.backend() == "tensorflow" else 2  # which Keras cannot accumulate on several devices
    made.compile(keras.optimizers.Adam(1e-2, global_clipnorm=20.0, use_ema=True, gradient_accumulation_steps=steps))
    return made, None


def dataset() -> data.Dataset:
    """27 images, of which one is not finite, to train on; 5 to validate and 7 to test, which do not divide."""
    shapes = data.load("shapes", limit=39, image_size=(8, 8))
    arrays, all_indices = shapes.train.arrays, np.arange(39)
    parts = [data.Split(arrays, part) for part in np.split(all_indices, [27, 32])]
    return data.Dataset("shapes", shapes.class_names, *parts, source="shapes")


def run(folder: Path, kind: str = "statistics", *more, epochs: int = 2) -> keras_ae.training.History:
    """Trains in the folder, or goes on there: epochs of 3 steps."""
    precision = "mixed_bfloat16" if kind == "mixed" else "float32"
    with dtype_policy(precision):
        training.prepare(precision)  # a codebook begins the same everywhere
        return _trained(folder, kind, *more, epochs=epochs)


def _trained(folder, kind, *more, epochs):
    images = dataset()
    with backends.replicated():
        trained, task = model(kind)
        weights = trained.trainable_weights
        set_weights(weights)
    if task is None:
        images = replace(images, train=Poisoned(images.train.arrays, images.train.indices))
        trained.adapt(images.train)
    shown = images.validation
    drawn = pictures.vae_pictures(shown.batch(slice(None))) if task is None else pictures.task_pictures(task, shown)
    grids = callbacks.ImageGrids(folder, drawn)
    return keras_ae.train(
        trained, images, folder, epochs=epochs, batch_size=8, task=task, verbose=False, callbacks=[grids, *more]
    )


def stop(folder: Path, kind: str) -> None:
    """Begins a training, and ends it in the second epoch."""
    try:
        run(folder, kind, SignalToOne(), epochs=4)
    except KeyboardInterrupt:
        return
    raise AssertionError("the signal has not stopped the training")


def used(path: Path) -> dict[str, np.ndarray]:
    """What a saved VAE makes of images, of which there are more than two devices can share evenly."""
    with backends.replicated():
        vae = keras_ae.load_model(path)
    split = dataset().train
    batch = split.batch(slice(None))
    mean, log_var = vae.encode(batch["image"])
    results = {"mean": mean, "log_var": log_var, "sample": vae.sample(5, seed=3)}
    results["log_likelihood"] = vae.log_likelihood(batch["image"], draws=10)
    results |= keras_ae.evaluate(vae, split, draws=10)
    with backends.replicated():
        restorer = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4, task="denoise")
        set_weights(restorer.weights)
    restored = keras_ae.evaluate(restorer, split, task=keras_ae.get_task("denoise"))
    results |= {f"restorer_{name}": value for name, value in restored.items()}
    return results | (_fitted(restorer) if keras.backend.backend() == "torch" else {})


def _fitted(network) -> dict[str, np.ndarray]:
    """The weights after Keras's own `fit`, compiled twice."""
    task = keras_ae.get_task("denoise")
    split = dataset().train
    for seed in (0, 1):
        network.compile(keras.optimizers.SGD(1e-2), **task.measures(network))
        network.fit(data.training_batches(split, 8, seed=seed, task=task, endless=False), verbose=0)
    return {f"weights_{number}": value for number, value in enumerate(network.get_weights())}


def launched(*command, simulated: bool = False, **kwargs) -> list[subprocess.Popen]:
    """Starts Python on two devices: simulated ones in one process, or one in each of two."""
    command = [sys.executable, *map(str, command)]
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **kwargs}
    if simulated:
        flags = f"{os.environ.get('XLA_FLAGS', '')} {SIMULATED}"
        return [subprocess.Popen(command, env={**os.environ, "XLA_FLAGS": flags}, **options)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    return [
        subprocess.Popen(command, env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, **options)
        for rank in range(2)
    ]
