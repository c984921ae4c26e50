"""Numbers that are not finite: what ends a training that has nothing left to learn from.

The callbacks of this package look at a step before the next one begins, not when it ends: Keras turns the logs of every
step into numbers, and so waits for the device, as soon as a callback has `on_train_batch_end`.
"""

import math

import keras

from keras_ae.errors import NotFiniteError

ADVICE = "Lower the learning rate, clip gradients, or look for NaN in the images"
INTERVAL = 20  # steps between two looks at the loss


class StopOnSkippedSteps(keras.callbacks.Callback):
    """Raises `NotFiniteError` when `limit` steps in a row, or more, were skipped for a non-finite loss or gradient.

    It looks every `limit` steps and at the end of each epoch.
    """

    def __init__(self, limit: int):
        super().__init__()
        self.limit = limit

    def on_train_begin(self, logs=None):
        self.model.skipped_steps.in_a_row.assign(0.0)

    def on_train_batch_begin(self, batch, logs=None):
        if batch and batch % self.limit == 0:
            self._check()

    def on_epoch_end(self, epoch, logs=None):
        self._check()

    def _check(self):
        norm = self.model.skip_norm
        above = f", or whose norm is above {norm:g}" if norm else ""
        advice = f"Raise skip_norm; or: {ADVICE[0].lower()}{ADVICE[1:]}" if norm else ADVICE
        in_a_row = int(keras.ops.convert_to_numpy(self.model.skipped_steps.in_a_row.value))
        if in_a_row >= self.limit:
            raise NotFiniteError(
                f"stopped: {in_a_row} steps in a row had a loss or gradient that is not finite{above}. "
                f"Their updates were skipped. {advice}"
            )


class StopOnNotFinite(keras.callbacks.Callback):
    """Raises `NotFiniteError` when the loss, or a validation's, is not finite: put it before `Checkpoint`.

    For models of plain `compile` and `fit`. A `VAE` guards each of its steps, and leaves out what is not finite.

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> nothing = np.full((2, 1), np.nan)
    >>> try:
    ...     model.fit(nothing, nothing, verbose=0, callbacks=[StopOnNotFinite()])
    ... except NotFiniteError as error:
    ...     print(str(error).split(".")[0])
    stopped: the loss of epoch 1 is not finite
    """

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if batch and batch % INTERVAL == 0 and not self._is_guarded():
            self._check(float(self.model.get_metrics_result()["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        if not self._is_guarded():
            self._check(logs["loss"])
        self._check(logs.get("val_loss", 0.0))  # the last step's update comes after its loss

    def _is_guarded(self) -> bool:
        """The mean loss of a `GuardedModel` is NaN where all steps were skipped, which `StopOnSkippedSteps` counts."""
        return hasattr(self.model, "skipped_steps")

    def _check(self, loss: float):
        if not math.isfinite(loss):
            raise NotFiniteError(f"stopped: the loss of epoch {self.epoch + 1} is not finite. {ADVICE}")
