"""What ends a training early: a signal."""

import signal
import threading

import keras

from keras_ae import backends
from keras_ae.callbacks.agreed import Agreed
from keras_ae.callbacks.checkpoint import Checkpoint


class Stopped(KeyboardInterrupt):
    """A signal asked the training to stop."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


HANGUP = getattr(signal, "SIGHUP", None)  # the terminal is gone; Windows has none


def stopping() -> list[int]:
    """The signals that stop a training: SIGINT, SIGTERM and, unless it is ignored (`nohup`), SIGHUP."""
    hangup = [HANGUP] if HANGUP and signal.getsignal(HANGUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *hangup]


class StopOnSignal(keras.callbacks.Callback):
    """A context and a callback: inside it, SIGINT, SIGTERM and SIGHUP let the step finish, then raise `Stopped`.

        with StopOnSignal(checkpoint) as stop:
            model.fit(..., callbacks=[checkpoint, stop])

    Python would raise in whatever code runs at that moment, even where a framework swallows it. A second signal ends
    the process at once. Several processes stop at the same step, by a signal to any of them. SIGHUP does nothing where
    it is ignored (`nohup`). In a thread no signal does: Python handles them in the main one.

    Args:
        checkpoint: saves first. After the last step of an epoch, validation and the epoch's own checkpoint do.

    >>> import keras_ae, numpy as np
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> vae.compile("adam")
    >>> with StopOnSignal() as stop:
    ...     history = vae.fit(np.zeros((4, 8, 8, 1)), verbose=0, callbacks=[stop])
    """

    def __init__(self, checkpoint: Checkpoint | None = None):
        super().__init__()
        self.checkpoint = checkpoint

    def __enter__(self):
        self.received = 0
        self.agreed = Agreed()
        in_main = threading.current_thread() is threading.main_thread()
        self.before = {number: signal.signal(number, self._receive) for number in (stopping() if in_main else ())}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number, _frame):
        self.received = number
        for other in self.before:
            # A terminal that goes sends SIGHUP twice: the kernel, and then the shell. To several processes a launcher
            # sends once more what the terminal has sent.
            again = other == HANGUP or backends.world().processes > 1
            signal.signal(other, signal.SIG_IGN if again else signal.SIG_DFL)

    def _check(self):
        (received,) = backends.highest([self.received])
        if received:
            raise Stopped(int(received))

    def on_train_batch_begin(self, batch, logs=None):
        if received := self.agreed(self.received):
            if self.checkpoint and batch:
                self.checkpoint.save_within(batch)
            raise Stopped(received)

    def on_epoch_end(self, epoch, logs=None):
        self._check()

    def on_train_end(self, logs=None):
        self._check()
