"""A training that can be stopped at any moment and ends as if it had not been."""

import math
from pathlib import Path

import keras
from keras.callbacks import LambdaCallback

from keras_ae import data
from keras_ae.callbacks import (
    Checkpoint,
    LossCurves,
    Progress,
    SaveBest,
    StopOnNotFinite,
    StopOnSignal,
    restore,
)
from keras_ae.errors import InputError
from keras_ae.files import remove_leftovers


def fit(
    model: keras.Model,
    dataset: data.Dataset,
    folder: Path | str,
    *,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    flip: bool = False,
    task=None,
    checkpoint_seconds: float = 300,
    checkpoint_steps: float = math.inf,
    patience: int | None = None,
    verbose: bool = True,
    metadata: dict | None = None,
    callbacks=(),
) -> list[dict]:
    """Trains a compiled model in a folder of its own, from where the checkpoint there stands.

    The folder gets `checkpoint.npz`, `best.keras` (lowest validation loss), `history.csv` and `losses.png`. SIGINT
    and SIGTERM let the step finish, save and raise a `KeyboardInterrupt`.

    Args:
        dataset: whose train and validation splits are used.
        batch_size, seed, flip, task: as `data.training_batches` takes them.
        checkpoint_seconds, checkpoint_steps: at most, between two checkpoints within an epoch.
        patience: epochs without a lower validation loss that end the training.
        verbose: a progress bar and a line for each epoch.
        metadata: for `best.keras`.
        callbacks: more of them, called before the checkpoint of an epoch is written.

    Returns:
        The history: a dict for each epoch, with all that `fit` logs.

    Raises:
        InputError: there are no images, or none to validate with for `patience`; the checkpoint is damaged, of another
            model, or of a training on other batches.
        NotFiniteError: nothing finite is left to learn from; the checkpoint is from before.
        CheckpointError: the state cannot be written; the same.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    if patience and not len(dataset.validation):
        raise InputError("there are no validation images for patience to look at; leave it out")
    steps = data.steps_per_epoch(dataset.train, batch_size)
    state = restore(model, folder)
    stream = {"images": len(dataset.train), "batch_size": batch_size, "seed": seed, "flip": flip}
    if state.stream not in ({}, stream):
        raise InputError(f"{folder} was begun with {state.stream}, now it is {stream}; take another folder")
    state.stream = stream
    if state.batch:  # on TensorFlow, Keras makes the metrics' sums in the first step only
        one = data.Split(dataset.train.arrays, dataset.train.indices[:1])
        model.evaluate(data.evaluation_batches(one, task=task), verbose=0)
    checkpoint = Checkpoint(folder, state, seconds=checkpoint_seconds, steps=checkpoint_steps)
    with StopOnSignal(checkpoint) as stop:
        progress = [Progress(steps)] if verbose else []
        shared = [
            StopOnNotFinite(),
            SaveBest(folder / "best.keras", state, metadata),
            *callbacks,
            LossCurves(folder, state.history),
            checkpoint,
            *progress,
            stop,
        ]
        if patience:
            enough = LambdaCallback(on_epoch_end=lambda *_: _stop_if(model, _is_over(state.history, patience)))
            shared.append(enough)
        validation = data.evaluation_batches(dataset.validation, task=task) if len(dataset.validation) else None
        try:
            for batch in dict.fromkeys([state.batch, 0]):  # the rest of an epoch, then whole ones
                epoch = len(state.history)
                if patience and _is_over(state.history, patience):
                    break
                only_one = LambdaCallback(on_epoch_end=lambda *_: _stop_if(model, True))
                model.fit(
                    data.training_batches(
                        dataset.train,
                        batch_size,
                        seed=seed,
                        epoch=epoch,
                        batch=batch,
                        flip=flip,
                        task=task,
                        endless=True,
                    ),
                    steps_per_epoch=steps - batch,
                    epochs=epochs,
                    initial_epoch=epoch,
                    validation_data=validation,
                    verbose=0,
                    callbacks=[*shared, only_one] if batch else shared,
                )
        finally:
            for each in progress:
                each.close()
    return state.history


def _is_over(history: list[dict], patience: int) -> bool:
    losses = [row["val_loss"] for row in history]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def _stop_if(model, reason: bool) -> None:
    model.stop_training = model.stop_training or reason
