"""A training that can be stopped at any moment and ends as if it had not been."""

from pathlib import Path

import keras

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
    checkpoint_every: int | str = "5m",
    metadata: dict | None = None,
    callbacks=(),
) -> list[dict]:
    """Trains a compiled model in a folder of its own, from where the checkpoint there stands.

    The folder gets `checkpoint.npz`, `best.keras` (lowest validation loss), `history.csv` and `losses.png`. SIGINT
    and SIGTERM let the step finish, save and raise a `KeyboardInterrupt`.

    Args:
        dataset: whose train and validation splits are used.
        batch_size, seed, flip, task: as `data.training_batches` takes them.
        checkpoint_every: as `callbacks.Checkpoint` takes it.
        metadata: for `best.keras`.
        callbacks: more of them, called before the checkpoint of an epoch is written.

    Returns:
        The history: a dict for each epoch, with all that `fit` logs.

    Raises:
        InputError: there are no images, or the checkpoint is damaged or of another model.
        NotFiniteError: nothing finite is left to learn from; the checkpoint is from before.
        CheckpointError: the state cannot be written; the same.
    """
    folder = Path(folder)
    steps = data.steps_per_epoch(dataset.train, batch_size)
    state = restore(model, folder)
    if state.batch:  # on TensorFlow, Keras makes the metrics' sums in the first step only
        one = data.Split(dataset.train.arrays, dataset.train.indices[:1])
        model.evaluate(data.evaluation_batches(one, task=task), verbose=0)
    checkpoint = Checkpoint(folder, state, checkpoint_every)
    with StopOnSignal(checkpoint) as stop:
        progress = Progress(steps)
        shared = [
            StopOnNotFinite(),
            SaveBest(folder / "best.keras", state, metadata),
            *callbacks,
            LossCurves(folder, state.history),
            checkpoint,
            progress,
            stop,
        ]
        try:
            for batch in dict.fromkeys([state.batch, 0]):  # the rest of an epoch, then whole ones
                epoch = len(state.history)
                only_one = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: setattr(model, "stop_training", True))
                model.fit(
                    data.training_batches(
                        dataset.train, batch_size, seed=seed, epoch=epoch, batch=batch, flip=flip, task=task
                    ),
                    steps_per_epoch=steps - batch,
                    epochs=epochs,
                    initial_epoch=epoch,
                    validation_data=data.evaluation_batches(dataset.validation, task=task),
                    verbose=0,
                    callbacks=[*shared, only_one] if batch else shared,
                )
        finally:
            progress.close()
    return state.history
