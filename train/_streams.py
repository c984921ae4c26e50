"""What the scripts print: in one line that a terminal does not obey, and without an end when nobody reads it."""

import contextlib
import errno
import os
import runpy
import sys
from pathlib import Path

# The file alone: keras_ae imports Keras, which takes seconds.
printable = runpy.run_path(str(Path(__file__).parent.parent / "keras_ae" / "errors.py"))["printable"]
UNREAD = (errno.EPIPE, errno.EIO, errno.EBADF)  # the reader has ended, the terminal is gone, it was closed


class Patient:
    """A stream whose failure ends nothing: what cannot be written is dropped, from then on.

    Attributes:
        lost: why something was dropped that somebody wants to read, as on a full disk.
    """

    def __init__(self, stream):
        self.stream = stream
        self.lost = None

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        return self._try(self.stream.write, text)

    def flush(self):
        self._try(self.stream.flush)

    def _try(self, function, *arguments):
        try:
            return function(*arguments)
        except OSError as error:
            if error.errno not in UNREAD:
                self.lost = error
            # What the stream still holds, and what libraries print, goes the same way.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def open_closed() -> None:
    """Opens 0, 1 and 2 where they are closed (`2>&-`): the next file would get the number, and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # it was closed when Python started
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


@contextlib.contextmanager
def patient():
    """Makes both streams patient. At the end, lost output is an error."""
    open_closed()
    streams = Patient(sys.stdout), Patient(sys.stderr)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()
    for stream in streams:
        if stream.lost:
            raise OSError(f"printed lines are lost ({stream.lost.strerror}); make room for them")
