"""Stops a training that has nothing finite left to learn from."""

import math

import keras

from keras_ae.errors import NotFiniteError


class StopOnSkippedSteps(keras.callbacks.Callback):
    """Raises `NotFiniteError` after `limit` steps in a row were skipped for a non-finite loss or gradient."""

    def __init__(self, limit: int):
        super().__init__()
        self.limit = limit

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = int(self.model.skipped_steps.result())  # above 0 where a run goes on within an epoch

    def on_train_begin(self, logs=None):
        self.in_a_row = 0

    def on_train_batch_end(self, batch, logs=None):
        skipped = int(logs["skipped_steps"])
        self.in_a_row = self.in_a_row + skipped - self.seen if skipped > self.seen else 0
        self.seen = skipped
        if self.in_a_row >= self.limit:
            raise NotFiniteError(
                f"stopped: {self.in_a_row} steps in a row had a loss or gradient that is not finite; "
                "their updates were skipped. Lower the learning rate, clip gradients, or look for NaN in the images"
            )


class StopOnNotFinite(keras.callbacks.Callback):
    """Raises `NotFiniteError` after a step, or a validation, whose loss is not finite: put it before `Checkpoint`.

    For models of plain `compile` and `fit`; a `VAE` guards each of its steps, and leaves out what is not finite.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._check(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs.get("val_loss", 0.0))  # the last step's update comes after its loss

    def _check(self, loss):
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"stopped: the loss of epoch {self.epoch + 1} is not finite. Lower the learning rate, clip gradients, "
                "or look for NaN in the images"
            )
