"""A training that can be stopped at any moment and ends as if it had not been."""

import contextlib
import math
import random
import warnings
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from keras_ae import backends, data, saving
from keras_ae.callbacks import (
    Checkpoint,
    LossCurves,
    Progress,
    SaveBest,
    StopOnNotFinite,
    StopOnSignal,
    restore,
)
from keras_ae.callbacks.checkpoint import below
from keras_ae.errors import InputError, LostError
from keras_ae.files import lock, remove_leftovers
from keras_ae.models.guarded import shipped, synchronise
from keras_ae.objectives.elbo import bits_per_dimension
from keras_ae.objectives.likelihoods import Bernoulli
from keras_ae.runs import MODEL
from keras_ae.saving import save_model

FEW = 0.25  # of the latents: a code that uses less is worth a word
LOOKED_AT = 100  # images, to see whether they have greys
RISE = 0.01  # of the fall of the validation loss: less is noise


class History(keras.callbacks.History):
    """Keras's history, of a whole run: also of the epochs before it was resumed.

    Attributes:
        epoch: the numbers of the epochs, from 0.
        history: name -> a value for each epoch, of all that `fit` logs.
        model: the trained model.
        test: name -> what the test images measured. Empty without test images.
    """

    def __init__(self, model: keras.Model, rows: list[dict], test: dict[str, float]):
        super().__init__()
        self.set_model(model)
        self.epoch = [row["epoch"] - 1 for row in rows]
        names = dict.fromkeys(name for row in rows for name in row if name != "epoch")
        self.history = {name: [row[name] for row in rows if name in row] for name in names}
        self.test = test


def prepare(precision: str = "float32", seed: int = 0) -> str:
    """Sets the precision of models built from now on, and seeds their weights.

    Args:
        precision: "float32", "mixed_bfloat16", "mixed_float16", or "auto": bfloat16 on devices made for it.
        seed: of the weights.

    Returns:
        The precision that was set.

    >>> prepare("float32", seed=1)
    'float32'
    """
    backends.tune_gpu()
    if precision == "auto":
        precision = "mixed_bfloat16" if backends.has_bfloat16() else "float32"
    random.seed(seed)  # where initializers draw their seeds. Keras's own function would import TensorFlow
    keras.config.set_dtype_policy(precision)
    return precision


def train(
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
    output: Path | str | None = None,
) -> History:
    """Trains a compiled model in a folder of its own, measures it on the test images and saves it.

    Call it again with the same arguments to resume a training that was stopped. It ends with the same bits as one that
    was not. SIGINT, SIGTERM and SIGHUP let the step finish, save and raise a `KeyboardInterrupt`; in a thread
    they do not.

    The folder gets `model.keras`, `best.keras` (lowest validation loss), `checkpoint.npz`, `history.csv` and
    `losses.png`.

    Args:
        model: a `VAE` or any other compiled model.
        epochs: in all, with those before the training was resumed.
        batch_size, seed, flip, task: as `data.training_batches` takes them.
        checkpoint_seconds, checkpoint_steps: at most, between two checkpoints within an epoch.
        patience: epochs without a lower validation loss that end the training.
        verbose: a progress bar and a line for each epoch.
        metadata: more of what the saved files say of themselves.
        callbacks: called before the checkpoint of an epoch is written. What they remember is not kept in it.
        output: where the trained model is saved instead of `model.keras`.

    Raises:
        InputError: another process trains in the folder, or it holds links. There are no images, or none to validate
            with for `patience`. The checkpoint is damaged, of another model, or of a training on other batches.
        NotFiniteError: nothing finite is left to learn from. The checkpoint is from before.
        CheckpointError: the state cannot be written. The checkpoint is from before.
        LostError: another process of the training has ended. The checkpoint is from before.

    On several devices (docs/scale.md) all processes call it with the same arguments; the first one locks and writes.

    >>> import tempfile
    >>> import keras_ae
    >>> dataset = keras_ae.data.load("shapes", image_size=(8, 8), limit=40)
    >>> vae = keras_ae.conv_vae(dataset.image_shape, latent_dim=2, width=4)
    >>> vae.compile("adam")
    >>> history = keras_ae.train(vae, dataset, tempfile.mkdtemp(), epochs=2, batch_size=16, verbose=False)
    >>> history.epoch
    [0, 1]
    >>> {"loss", "val_loss"} <= history.history.keys() and "elbo" in history.test
    True
    """
    folder = Path(folder)
    _warn_of_greys(model, dataset.train)
    about = saving.metadata(model, dataset, task=task, **(metadata or {}))
    with _lost_together(), contextlib.ExitStack() as held:
        backends.once(lambda: held.enter_context(_locked(folder)))
        rows = run_epochs(
            model,
            dataset,
            folder,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            flip=flip,
            task=task,
            checkpoint_seconds=checkpoint_seconds,
            checkpoint_steps=checkpoint_steps,
            patience=patience,
            verbose=verbose,
            metadata=about,
            callbacks=callbacks,
        )
        test = _measure(model, dataset.test, task)
        backends.once(lambda: save_model(model, output or folder / MODEL, about | {"test": test}))
    return History(model, rows, test)


fit = train


@contextlib.contextmanager
def _lost_together():
    """What a backend says of a process that has ended becomes a `LostError`."""
    try:
        yield
    except Exception as error:
        if not backends.is_lost(error):
            raise
        raise LostError("another process of this training has ended, and so this one does") from error


@contextlib.contextmanager
def _locked(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        yield


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)


def run_epochs(
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
    """The epochs of `train`, with its arguments and errors: no lock, no look at the test images, no `model.keras`.

    Args:
        metadata: of `best.keras`, whole.

    Returns:
        A row for each epoch of the run, with its number from 1 and all that `fit` logs.
    """
    folder = Path(folder)
    backends.once(lambda: _prepare(folder))
    if patience and not len(dataset.validation):
        raise InputError("there are no validation images for patience to look at; leave it out")

    steps = data.steps_per_epoch(dataset.train, batch_size)
    state = restore(model, folder, steps)
    synchronise(model)
    stream = {"images": len(dataset.train), "batch_size": batch_size, "seed": seed, "flip": flip}
    stream |= {name: True for name in ("binarized", "dequantized") if getattr(dataset.train, name)}
    if state.stream not in ({}, stream):
        raise InputError(f"{folder} was begun with {state.stream}, now it is {stream}; take another folder")
    state.stream = stream
    if patience and _is_over(state.history, patience):
        epochs = len(state.history)
    if state.batch:
        _make_metrics(model, dataset, task)
        restore(model, folder, steps)  # the evaluation drew noise

    validation = data.evaluation_batches(dataset.validation, task=task) if len(dataset.validation) else None
    checkpoint = Checkpoint(folder, state, seconds=checkpoint_seconds, steps=checkpoint_steps)
    progress = Progress(steps)
    with StopOnSignal(checkpoint) as stop, contextlib.closing(progress):
        shared = [
            StopOnNotFinite(),
            SaveBest(folder / "best.keras", state, metadata),
            *callbacks,
            LossCurves(folder, state.history),
            checkpoint,
            *([progress] if verbose else []),
            stop,
            *([_Patience(state.history, patience)] if patience else []),
        ]

        def fit(*more):
            epoch, batch = len(state.history), state.batch
            batches = data.training_batches(
                dataset.train, batch_size, seed=seed, epoch=epoch, batch=batch, flip=flip, task=task, endless=True
            )
            model.fit(
                batches,
                steps_per_epoch=steps - batch,
                epochs=epochs,
                initial_epoch=epoch,
                shuffle=False,  # they are
                validation_data=validation,
                verbose=0,
                callbacks=[*shared, *more],
            )
            # Keras gives averaged weights the arrays of their averages, and JAX deletes the arrays that it evaluates
            model.set_weights(model.get_weights())

        if state.batch:
            rest = _OneEpoch()
            fit(rest)
            if rest.stopped:
                return state.history
            restore(model, folder, steps)  # without what Keras does at the end of a fit: weights become their averages
        fit()
    return state.history


def notices(history: History) -> list[str]:
    """What of a training deserves a second look, and what to try: a sentence or two each.

    It looks at latents that are not used, a warm-up of the KL that was not over, and a validation loss that rose.

    >>> history = History(keras.Sequential(), [{"epoch": 1, "val_loss": 3.0}, {"epoch": 2, "val_loss": 4.0}], {})
    >>> [notice.split(" (")[0] for notice in notices(history)]
    ['The validation loss was lowest after epoch 1']
    """
    checks = (_few_active_latents, _long_warmup, _risen_loss)
    return [notice for check in checks if (notice := check(history))]


def _few_active_latents(history) -> str | None:
    measured = history.history.get("val_active_units", [])
    active = history.test.get("active_units", measured[-1] if measured else None)
    if active is None:
        return None
    latents = shipped(history.model).latent_dim
    if active > FEW * latents:
        return None
    advice = "Train for more epochs, lower beta, or give free bits."
    if active < 1:
        return f"None of the {latents} latents is active: the code carries nothing of the image. {advice}"
    return (
        f"Only {active:.0f} of {latents} latents are active. The others carry nothing of the image. {advice} "
        "If the reconstructions are good, fewer latents are enough."
    )


def _long_warmup(history) -> str | None:
    warmup = getattr(getattr(shipped(history.model), "objective", None), "kl_warmup_steps", 0)
    steps = int(history.model.optimizer.iterations) if warmup else 0
    if steps >= warmup:
        return None
    return (
        f"The training of {steps:,} steps ended within the KL's warm-up of {warmup:,}: its weight never reached beta. "
        "Train for more epochs, or shorten the warm-up."
    )


def _risen_loss(history) -> str | None:
    losses = [below(loss) for loss in history.history.get("val_loss", [])]
    if not losses or math.inf in losses:
        return None
    first, lowest, last = losses[0], min(losses), losses[-1]
    if last - lowest <= RISE * (first - lowest):
        return None
    return (
        f"The validation loss was lowest after epoch {losses.index(lowest) + 1} ({lowest:.5g}) and rose to {last:.5g}: "
        "best.keras is from there. Train for fewer epochs, on more images, or with mirrored ones."
    )


class _OneEpoch(keras.callbacks.Callback):
    """Ends `fit` after one epoch. The last of the callbacks: it notes whether another one has ended the training."""

    def on_epoch_end(self, epoch, logs=None):
        self.stopped = self.model.stop_training
        self.model.stop_training = True


class _Patience(keras.callbacks.Callback):
    """Ends the training after so many epochs without a lower validation loss."""

    def __init__(self, rows: list[dict], epochs: int):
        super().__init__()
        self.rows = rows
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        if _is_over(self.rows, self.epochs):
            self.model.stop_training = True


def _is_over(rows: list[dict], patience: int) -> bool:
    losses = [below(row.get("val_loss", math.inf)) for row in rows]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def _warn_of_greys(model, split) -> None:
    """A Bernoulli's log-likelihood is one of pixels that are 0 or 1."""
    likelihood = getattr(shipped(model), "likelihood", None)
    if likelihood is not None and split.dequantized and not likelihood.is_density:
        raise InputError("dequantised pixels are of a Gaussian likelihood; leave out --dequantize, or take one")
    if not isinstance(likelihood, Bernoulli):
        return
    if len(split) and not np.isin(split.batch(slice(0, LOOKED_AT))["image"], (0, 1)).all():
        warnings.warn(
            "the images have greys, of which a Bernoulli is no density: its ELBO compares with no other. "
            "Draw them as 0 and 1 with --binarize (in Python dataset.binarized())",
            stacklevel=3,
        )


def _make_metrics(model, dataset, task) -> None:
    """Keras makes the sums of compiled metrics in the first step only, and a checkpoint sets them before it."""
    first = replace(dataset.train, indices=dataset.train.indices[: backends.world().replicas])
    model.evaluate(data.evaluation_batches(first, task=task), verbose=0)


def _measure(model, split, task) -> dict[str, float]:
    if not len(split):
        return {}
    results = model.evaluate(data.evaluation_batches(split, task=task), return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    likelihood = getattr(model, "likelihood", None)
    if likelihood is not None and likelihood.is_discretized and "elbo" in results:
        results["bits_per_dimension"] = bits_per_dimension(results["elbo"], model.image_shape, discretized=True)
    return results
