"""The state of a run on disk: what a resumed `fit` needs to end as an uninterrupted one."""

import csv
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_ae.errors import InputError
from keras_ae.files import atomic


class Checkpoint(keras.callbacks.Callback):
    """Writes `checkpoint.npz` and `history.csv` into `folder` after each epoch, each atomically.

    The checkpoint holds every variable in order: weights, the states of the seed generators (which
    Keras saves nowhere), the optimizer's; and the history so far.

    Args:
        folder: of the run.
        history: rows of the epochs before, from `restore`.
    """

    def __init__(self, folder: Path, history: list[dict] | None = None):
        super().__init__()
        self.folder = Path(folder)
        self.history = list(history or [])

    def on_epoch_end(self, epoch, logs=None):
        self.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        with atomic(self.folder / "checkpoint.npz") as path:
            np.savez(path, history=json.dumps(self.history), **_variables(self.model))
        write_history(self.folder / "history.csv", self.history)


def restore(model: keras.Model, folder: Path) -> list[dict]:
    """Sets all variables of a compiled model from the run's checkpoint and returns the history so far.

    A run that was stopped before its first epoch ended has no checkpoint: nothing is set, the history is empty.

    Raises:
        InputError: the checkpoint is damaged or of another model.
    """
    path = Path(folder) / "checkpoint.npz"
    if not path.exists():
        return []
    model.optimizer.build(model.trainable_variables)
    try:
        with open(path, "rb") as file, np.load(file) as saved:
            values = dict(saved)
        history = json.loads(str(values.pop("history")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}); delete it to start the run anew") from error
    expected = {name: np.shape(value) for name, value in _variables(model).items()}
    if {name: value.shape for name, value in values.items()} != expected:
        raise InputError(f"{path} is the checkpoint of another model")
    for name, variable in _named(model):
        variable.assign(values[name])
    return history


def write_history(path: Path, history: list[dict]) -> None:
    """The rows as CSV, one per epoch."""
    columns = list(dict.fromkeys(name for row in history for name in row))  # not every epoch need be validated
    with atomic(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def _variables(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: keras.ops.convert_to_numpy(variable.value) for name, variable in _named(model)}


def _named(model: keras.Model):
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    yield from ((f"model_{number}", variable) for number, variable in enumerate(own))
    yield from ((f"optimizer_{number}", variable) for number, variable in enumerate(model.optimizer.variables))
