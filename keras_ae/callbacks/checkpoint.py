"""The state of a run on disk: what a resumed training needs to end as an uninterrupted one."""

import csv
import errno
import json
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_ae import backends
from keras_ae.callbacks.agreed import Agreed
from keras_ae.callbacks.kept import ImpossibleError, check_archive, check_headers, check_progress, read_headers
from keras_ae.errors import CheckpointError, InputError, NotFiniteError
from keras_ae.files import atomic, dispensable
from keras_ae.guards import ADVICE
from keras_ae.models import VAE
from keras_ae.models.guarded import GuardedModel
from keras_ae.saving import save_model

FILE = "checkpoint.npz"
PAUSES = (1, 5, 25)  # seconds before a failed write is tried again


@dataclass
class State:
    """How far a run has come.

    Attributes:
        history: a row for each finished epoch.
        batch: steps done in the epoch after the last row.
        metrics: running sums of that epoch, in the order of `model.metrics_variables`.
        stream: what the batches depend on, as JSON: a run continues with the same.

    >>> State().batch
    0
    """

    history: list[dict] = field(default_factory=list)
    batch: int = 0
    metrics: list[np.ndarray] = field(default_factory=list)
    stream: dict = field(default_factory=dict)


class Checkpoint(keras.callbacks.Callback):
    """Writes `checkpoint.npz` into `folder` at the end of each epoch and within it, and `history.csv`.

    The checkpoint holds every variable in order: weights, the states of the seed generators (which Keras saves
    nowhere), those of all optimizers, the running sums of the metrics; and the history and the batch. It replaces
    the one before when it has been read back.

    Args:
        folder: of the run.
        state: from `restore`.
        seconds, steps: at most, between two checkpoints within an epoch.

    Raises:
        CheckpointError: it cannot be written; the one before is intact.
        NotFiniteError: a weight is not finite; the same.

    >>> import keras_ae, tempfile
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> vae.compile("adam")
    >>> checkpoint = Checkpoint(tempfile.mkdtemp())
    >>> history = vae.fit(np.zeros((4, 8, 8, 1)), epochs=2, verbose=0, callbacks=[checkpoint])
    >>> len(restore(vae, checkpoint.folder).history)
    2
    """

    def __init__(self, folder: Path, state: State | None = None, *, seconds: float = 300, steps: float = math.inf):
        super().__init__()
        self.folder = Path(folder)
        self.state = state or State()
        self.seconds = seconds
        self.steps = steps
        self.resumed_at = self.state.batch
        self.agreed = Agreed()

    def on_train_begin(self, logs=None):
        self._mark()

    def on_epoch_begin(self, epoch, logs=None):
        if self.resumed_at:  # Keras has just set the sums to 0
            variables = self.model.metrics_variables
            if [tuple(variable.shape) for variable in variables] != [array.shape for array in self.state.metrics]:
                raise InputError(f"{self.folder / FILE} is the checkpoint of another model: its running sums differ")
            for variable, value in zip(variables, self.state.metrics, strict=True):
                variable.assign(value)

    def on_train_batch_begin(self, batch, logs=None):
        done = self.resumed_at + batch
        is_late = self.agreed(batch and time.monotonic() - self.saved_time >= self.seconds)
        if done - self.saved_batch >= self.steps or is_late:
            self.save_within(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.state.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        self.state.batch = self.resumed_at = 0
        self.save()

    def save_within(self, batch: int):
        """Writes the state before step `batch` of this `fit`."""
        self.state.batch = self.resumed_at + batch
        self.save()

    def save(self):
        """Writes the state as it is, of which all processes have the same."""
        backends.once(self._save)
        self._mark()

    def _save(self):
        with dispensable(self.folder / "history.csv") as path:
            write_history(path, self.state.history)
        # The last: what a process killed before it has not written comes again.
        _insist(self._write, self.folder / FILE)

    def _mark(self):
        self.saved_batch, self.saved_time = self.state.batch, time.monotonic()

    def _write(self):
        arrays = {name: keras.ops.convert_to_numpy(variable.value) for name, variable in _named(self.model)}
        if not _are_finite(arrays):
            raise NotFiniteError(f"stopped: weights are not finite. {self.folder / FILE} is from before. {ADVICE}")
        if self.state.batch:
            for number, variable in enumerate(self.model.metrics_variables):
                total = keras.ops.convert_to_tensor(variable)  # of all replicas
                arrays[f"metric_{number}"] = keras.ops.convert_to_numpy(total)
        progress = {"batch": self.state.batch, "history": self.state.history, "stream": self.state.stream}
        with atomic(self.folder / FILE) as path:
            np.savez(path, state=json.dumps(progress), **arrays)
            try:
                check_archive(path)
            except zipfile.BadZipFile as error:
                raise OSError(errno.EIO, "what is read back is not what was written") from error


class SaveBest(keras.callbacks.Callback):
    """Writes the model, as `save_model` does, whenever an epoch's validation loss is the lowest so far.

    Args:
        path: of the `.keras` file.
        state: the one that `Checkpoint` continues; put this callback before it.
        metadata: as `save_model` takes it.

    >>> import keras_ae, tempfile
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> vae.compile("adam")
    >>> images, best = np.zeros((4, 8, 8, 1)), SaveBest(Path(tempfile.mkdtemp()) / "best.keras", State())
    >>> history = vae.fit(images, validation_data=(images,), verbose=0, callbacks=[best])
    >>> best.path.exists()
    True
    """

    def __init__(self, path: Path, state: State, metadata: dict | None = None):
        super().__init__()
        self.path = Path(path)
        self.state = state
        self.metadata = metadata or {}

    def on_epoch_end(self, epoch, logs=None):
        before = [below(row["val_loss"]) for row in self.state.history if "val_loss" in row]
        if "val_loss" in logs and logs["val_loss"] < min(before, default=math.inf):
            validation = {name[4:]: float(value) for name, value in logs.items() if name.startswith("val_")}
            metadata = self.metadata | {"epoch": epoch + 1, "validation": validation}
            backends.once(lambda: _insist(lambda: self._write(metadata), self.path))

    def _write(self, metadata):
        self.path.parent.stat()  # a folder that is gone is not made again
        save_model(self.model, self.path, metadata)


def restore(model: keras.Model, folder: Path, steps: float = math.inf) -> State:
    """Sets all variables of a compiled model from the run's checkpoint and returns how far the run has come.

    A run that was stopped before its first checkpoint has none: nothing is set, the history is empty.

    Args:
        steps: in an epoch; a checkpoint within it has done fewer.

    Raises:
        InputError: the checkpoint is damaged or of another model, or says what no training writes.

    >>> import keras_ae, tempfile
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> restore(vae, tempfile.mkdtemp())
    State(history=[], batch=0, metrics=[], stream={})
    """
    path = Path(folder) / FILE
    if not backends.once(path.exists):
        return State()
    with backends.replicated():
        model.optimizer.build(model.trainable_variables)
    state, values = backends.once(lambda: _read(model, path, steps))
    variables = dict(_named(model))
    for name, value in values.items():
        variables[name].assign(value)
    return state


def _read(model: keras.Model, path: Path, steps: float) -> tuple[State, dict[str, np.ndarray]]:
    """How far the run has come, and the values of variables by name."""
    variables = dict(_named(model))
    try:
        check_archive(path)
        headers = read_headers(path)
        sums = check_headers(headers, variables, path)
        with np.load(path) as saved:
            values = dict(saved)
        state = State(**json.loads(str(values.pop("state"))))
        check_progress(state, steps, len(sums))
        if not _are_finite(values):
            raise ImpossibleError("its weights are not finite")
    except (OSError, MemoryError, InputError):
        raise
    except Exception as error:  # whatever NumPy meets in a damaged file
        reason = error if isinstance(error, ImpossibleError) else type(error).__name__
        raise InputError(f"{path} is damaged ({reason}); delete it to start the run again") from error
    state.metrics = _as_terms(model, [values.pop(name) for name in sums])
    return state, values


def _are_finite(arrays: dict[str, np.ndarray]) -> bool:
    """Whether the model's are; an optimizer's sums may have overflowed."""
    return all(np.isfinite(array).all() for name, array in arrays.items() if name.startswith("model"))


def _as_terms(model: keras.Model, sums: list[np.ndarray]) -> list[np.ndarray]:
    """The sums of a VAE's metrics: up to version 0.1 six means, of a total and a count each, and then the rest."""
    is_new = not sums or not isinstance(model, GuardedModel) or len(sums) == len(model.metrics_variables)
    if is_new or any(array.shape for array in sums[:12]):
        return sums
    means, rest = sums[:12], sums[12:]
    return [np.array(means[0::2]), np.array(means[1::2]), *rest, np.float32(0)]


def below(loss: float) -> float:
    """The loss, as what is lower than others: one that is not a number is lower than none.

    >>> below(2.5), below(math.nan)
    (2.5, inf)
    """
    return math.inf if math.isnan(loss) else loss


def write_history(path: Path, history: list[dict]) -> None:
    """The rows as CSV, one per epoch."""
    columns = list(dict.fromkeys(name for row in history for name in row))  # not every epoch need be validated
    with atomic(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def _insist(write: Callable[[], object], path: Path) -> None:
    """Calls `write` until it succeeds, with pauses in between.

    Raises:
        CheckpointError: it failed once more than there are pauses.
    """
    for pause in (*PAUSES, None):
        try:
            write()
            return
        except OSError as error:
            if pause is None:
                reason = error.strerror or error
                raise CheckpointError(
                    f"{path} cannot be written ({reason}); the one before it is intact. Make room or allow it, "
                    "then resume"
                ) from error
            time.sleep(pause)


def _named(model: keras.Model):
    """All variables but those of metrics, by names that do not depend on the layers'."""
    settings = model.objective.settings() if isinstance(model, VAE) else {}
    others = {id(variable) for variable in [*model.metrics_variables, *settings.values()]}
    own = [variable for variable in model.variables if id(variable) not in others]
    yield from ((f"model_{number}", variable) for number, variable in enumerate(own))
    yield from ((f"setting_{name}", variable) for name, variable in settings.items())
    yield from ((f"optimizer_{number}", variable) for number, variable in enumerate(model.optimizer.variables))
