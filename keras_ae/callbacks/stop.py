"""What ends a training early: a signal, or numbers that are not finite."""

import math
import signal

import keras

from keras_ae.errors import NotFiniteError


class Stopped(KeyboardInterrupt):
    """A signal asked the training to stop."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


class StopOnSignal(keras.callbacks.Callback):
    """A context and a callback: inside it, SIGINT and SIGTERM let the step finish, then raise `Stopped`.

        with StopOnSignal() as stop:
            model.fit(..., callbacks=[stop])

    Python would raise in whatever code runs at that moment, also where a framework swallows it. A
    second signal ends the process at once.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self):
        self.received = None
        self.before = {number: signal.signal(number, self._receive) for number in self.signals}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number, _frame):
        self.received = number
        for each in self.signals:
            signal.signal(each, signal.SIG_DFL)

    def _check(self):
        if self.received is not None:
            raise Stopped(self.received)

    def on_train_batch_end(self, batch, logs=None):
        self._check()

    def on_test_batch_end(self, batch, logs=None):
        self._check()

    def on_train_end(self, logs=None):
        self._check()


class StopOnNotFinite(keras.callbacks.Callback):
    """Raises `NotFiniteError` at the end of an epoch whose loss is not finite: put it before `Checkpoint`.

    For models of plain `compile` and `fit`; a `VAE` guards each of its steps.
    """

    def on_epoch_end(self, epoch, logs=None):
        # The validation's, too: the last step's update comes after its loss.
        if not all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss")):
            raise NotFiniteError(
                f"stopped: the loss of epoch {epoch + 1} is not finite. Lower the learning rate, clip gradients, "
                "or look for NaN in the images"
            )
