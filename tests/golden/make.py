"""Numbers that a change of the code must not change, and the command that makes them.

    KERAS_BACKEND=torch python -m tests.golden.make steps outcomes    # and on the other two
    KERAS_BACKEND=torch python -m tests.golden.make files             # once: the same on every backend

`values.json` holds them: of some training steps, of the files in `saved_models/`, and of runs that were stopped in the
middle of an epoch and resumed. Make them again only after a change that is meant to change them, as the outcomes were
after Muon took other polynomials.

The stopped runs in `runs/` were begun by the code of commit c861e4c, and later code must be able to resume them. So
`runs` is for a new kind of run alone: it replaces them by runs of the code beside it.
"""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import keras_ae
from keras_ae import data

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VALUES = HERE / "values.json"
BACKEND = keras.backend.backend()

VAES = {
    "squared_error": {"conditioning": "decoder", "free_bits": 0.05, "kl_warmup_steps": 4},
    "bernoulli": {"conditioning": "both", "beta": 0.5},
    "gaussian": {"conditioning": "decoder", "free_bits": 0.05, "kl_warmup_steps": 4},
    "gaussian_learned": {"conditioning": "decoder"},
}
# Of each task: the loss, and what the network has.
TASKS = {
    "reconstruct": ("ssim", {"code_size": 2, "conditioning": "both"}),
    "denoise": ("psnr", {"code_size": 4, "skip_connections": True}),
    "complete": ("mae", {"code_size": 4, "skip_connections": True, "blocks": 1}),
    "segment": (None, {"code_size": 4}),
}
FILES = sorted(path.stem for path in (ROOT / "saved_models").glob("*.keras"))
RUNS = {
    "vae": "--image-size 4 --latent-dim 4 --likelihood gaussian --kl-warmup 2 --free-bits 0.05",
    "conv_ae": "--image-size 8 --task complete --code-size 4 --code-channels 2",
}
SMALL = "--limit 40 --width 4 --epochs 3 --batch-size 4 --flip --grid-every 9 --checkpoint-every 2"


def vae_steps(likelihood: str, cache_dir: Path) -> dict:
    """Two epochs of three steps of a small VAE."""
    shapes = _shapes(cache_dir)
    vae = keras_ae.conv_vae(
        shapes.image_shape, 4, class_names=shapes.class_names, likelihood=likelihood, width=4, **VAES[likelihood]
    )
    weights = vae.encoder.weights + vae.decoder.weights
    vae.compile(_adam())
    return _trained(vae, weights, shapes, learned=vae.likelihood.weights)


def task_steps(name: str, cache_dir: Path) -> dict:
    """Two epochs of three steps of a small convolutional autoencoder."""
    shapes = _shapes(cache_dir)
    loss, network = TASKS[name]
    task = keras_ae.get_task(name, label="conditioning" in network)
    model = keras_ae.conv_autoencoder(
        shapes.image_shape, code_channels=4, num_classes=len(shapes.class_names), task=name, width=4, **network
    )
    model.compile(_adam(), **task.measures(model, loss))
    return _trained(model, model.weights, shapes, task=task)


def _shapes(cache_dir: Path) -> data.Dataset:
    """Six classes; 28 images to train on and 4 to validate, which are one batch."""
    return data.load("shapes", image_size=(8, 8), limit=32, cache_dir=cache_dir)


def _adam() -> keras.optimizers.Adam:
    # With Adam's usual epsilon, rounding decides the direction of a step where the gradient is 0.
    return keras.optimizers.Adam(3e-3, epsilon=1e-3)


def _trained(model, weights, shapes, *, learned=(), task=None) -> dict:
    """Trains from weights that no initialiser drew."""
    random = np.random.default_rng(1)
    for weight in weights:
        weight.assign(random.normal(0, 0.15, weight.shape).astype("float32"))
    history = model.fit(
        data.training_batches(shapes.train, 8, seed=3, flip=True, task=task),
        shuffle=False,
        steps_per_epoch=data.steps_per_epoch(shapes.train, 8),
        validation_data=data.evaluation_batches(shapes.validation, task=task),
        epochs=2,
        verbose=0,
    ).history
    return {"history": history, "weights": _summaries([*weights, *learned])}


def file_outputs(name: str) -> dict:
    """What a shipped file makes of two smooth images: 64 values of each output."""
    model = keras_ae.load_model(ROOT / "saved_models" / f"{name}.keras")
    if isinstance(model, keras_ae.VAE):
        labels = [1, 2] if model.conditioning != "none" else None
        images = smooth_images(model.image_shape)
        code = model.encode(images, labels)
        outputs = (
            {"tokens": code} if model.latent.is_discrete else dict(zip(("z_mean", "z_log_var"), code, strict=True))
        )
        outputs["decoded"] = model.decode(model.code(images, labels), labels)
        if model.fills_prior:
            # A network that is called many times leaves more of the backends' rounding.
            outputs["drawn" if model.prior.has_network else "samples"] = model.sample(3, seed=4)
    else:
        shape = model.output_shape[1:]
        images = smooth_images(shape)
        mask = _mask(shape) if "mask" in {tensor.name for tensor in model.inputs} else None
        outputs = {"restored": keras_ae.restore_images(model, images, mask=mask)}
    return {name: _entries(array) for name, array in outputs.items()}


def smooth_images(shape) -> np.ndarray:
    """Two images (2, height, width, channels) of slow waves with a little noise."""
    height, width, channels = shape
    y = np.linspace(0, 1, height)[:, None, None]
    x = np.linspace(0, 1, width)[:, None]
    channel = np.arange(channels)
    images = [0.5 + 0.2 * np.cos(5 * x + turn * channel) + 0.2 * np.sin(turn + 7 * x * y) for turn in (1, 2)]
    noise = np.random.default_rng(0).normal(0, 0.05, (2, *shape))
    return np.clip(images + noise, 0, 1).astype("float32")


def _mask(shape) -> np.ndarray:
    """(2, height, width): a square is missing from the first image, a third of the second's pixels."""
    height, width, _ = shape
    mask = np.ones((2, height, width), "float32")
    mask[0, height // 4 : height // 2, width // 4 : width // 2] = 0
    mask[1].flat[::3] = 0
    return mask


def resumed(script: str, run: Path) -> dict:
    """The outcome of a stopped run: `train/SCRIPT.py --resume RUN` in this process."""
    sys.argv = [f"{script}.py", "--resume", str(run)]
    importlib.import_module(script).main()
    header, *rows = (run / "history.csv").read_text().splitlines()
    columns = zip(*(map(float, row.split(",")) for row in rows), strict=True)
    model = run / "model.keras"
    return {
        "history": dict(zip(header.split(","), columns, strict=True)),
        "weights": _summaries(keras_ae.load_model(model).weights),
        "test": keras_ae.read_metadata(model)["test"],
    }


def run_folder(script: str) -> Path:
    return HERE / "runs" / f"{script}-{BACKEND}"


def _summaries(weights) -> list[list[float]]:
    """Mean, norm and a projection that sees the order of the entries, for each weight."""
    arrays = [keras.ops.convert_to_numpy(weight).astype("float64").ravel() for weight in weights]
    return [[array.mean(), np.linalg.norm(array), array @ np.cos(np.arange(array.size))] for array in arrays]


def _entries(array: np.ndarray) -> np.ndarray:
    """64 of an array's values, from the first to the last, or all where it has no more."""
    flat = array.ravel()
    return flat[np.linspace(0, flat.size - 1, min(64, flat.size)).astype(int)]


def _make_steps(folder: Path) -> dict:
    vaes = {name: vae_steps(name, folder) for name in VAES}
    return {"steps": {BACKEND: vaes | {name: task_steps(name, folder) for name in TASKS}}}


def _make_files(folder: Path) -> dict:
    return {"files": {name: file_outputs(name) for name in FILES}}


def _make_runs(folder: Path) -> dict:
    """Begins runs and stops them within their second epoch: what `run_folder` keeps of them."""
    for script, flags in RUNS.items():
        run = folder / script
        while not _is_within_an_epoch(run):
            shutil.rmtree(run, ignore_errors=True)
            command = [sys.executable, ROOT / "train" / f"{script}.py", "--backend", BACKEND, "--run-dir", run]
            process = subprocess.Popen([*command, *SMALL.split(), *flags.split()])
            while process.poll() is None and not _is_within_an_epoch(run):
                time.sleep(0.001)
            process.send_signal(signal.SIGINT)
            process.wait()
        shutil.rmtree(run_folder(script), ignore_errors=True)
        run_folder(script).mkdir(parents=True)
        shutil.copy(run / "config.json", run_folder(script))
        with np.load(run / "checkpoint.npz") as checkpoint:
            np.savez_compressed(run_folder(script) / "checkpoint.npz", **checkpoint)
    return {}


def _is_within_an_epoch(run: Path) -> bool:
    """Whether the checkpoint is of the second epoch or a later one, some steps in."""
    if not (run / "checkpoint.npz").exists():
        return False
    with np.load(run / "checkpoint.npz") as checkpoint:
        state = json.loads(str(checkpoint["state"]))
    return bool(state["history"]) and state["batch"] > 0


def copied(script: str, run: Path) -> Path:
    """A copy of a stopped run. Its checkpoint is compressed here to be small, which no training does."""
    shutil.copytree(run_folder(script), run)
    with np.load(run / "checkpoint.npz") as arrays:
        np.savez(run / "checkpoint.npz", **dict(arrays))
    return run


def _make_outcomes(folder: Path) -> dict:
    sys.path.append(str(ROOT / "train"))
    os.environ["KERAS_HOME"] = str(folder)
    outcomes = {}
    for script in RUNS:
        outcomes[script] = resumed(script, copied(script, folder / script))
    return {"outcomes": {BACKEND: outcomes}}


def _merge(values: dict, new: dict) -> dict:
    """The old values, with the new ones in their places."""
    merged = dict(values)
    for name, value in new.items():
        merged[name] = _merge(values.get(name, {}), value) if isinstance(value, dict) else value
    return merged


def _plain(values):
    """As JSON, with as many digits as a float32 has."""
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    if isinstance(values, np.ndarray | list | tuple):
        return [_plain(value) for value in values]
    return float(f"{float(values):.9g}")


def _lists_on_a_line(text: str) -> str:
    return re.sub(r"\[[^\[\]]*\]", lambda numbers: " ".join(numbers[0].split()), text)


def main() -> None:
    makers = {"steps": _make_steps, "files": _make_files, "runs": _make_runs, "outcomes": _make_outcomes}
    for name in sys.argv[1:]:
        values = json.loads(VALUES.read_text()) if VALUES.exists() else {}
        with tempfile.TemporaryDirectory() as folder:
            values = _merge(values, _plain(makers[name](Path(folder))))
        VALUES.write_text(_lists_on_a_line(json.dumps(values, indent=1, sort_keys=True)) + "\n")


if __name__ == "__main__":
    main()
