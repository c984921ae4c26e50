"""The errors that a user can fix."""

from collections.abc import Iterable

LONGEST = 10_000  # letters of a message: a quoted value may have any number


class InputError(ValueError):
    """Something given cannot be used; the message is one line that says what to do.

    The scripts print it without a traceback and exit with code 2. What the message quotes may come from a stranger's
    file, so it is `printable`.

    >>> import keras_ae
    >>> try:
    ...     keras_ae.get_task("sharpen")
    ... except keras_ae.InputError as error:
    ...     print(error)
    unknown task 'sharpen'; known are reconstruct, denoise, complete, segment
    """

    def __init__(self, message: str):
        message = printable(message)
        super().__init__(message if len(message) <= LONGEST else f"{message[:LONGEST]}...")


class NotFiniteError(RuntimeError):
    """Training stopped because losses, gradients or weights are not finite; nothing that is not finite was saved.

    >>> import keras_ae
    >>> issubclass(keras_ae.NotFiniteError, RuntimeError)
    True
    """


class CheckpointError(OSError):
    """Training stopped because its state cannot be written; the last state written is intact.

    >>> import keras_ae
    >>> issubclass(keras_ae.CheckpointError, OSError)
    True
    """


class LostError(RuntimeError):
    """Training stopped because another of its processes has ended; the last state written is intact.

    >>> import keras_ae
    >>> issubclass(keras_ae.LostError, RuntimeError)
    True
    """


def printable(text) -> str:
    r"""One line that a terminal shows and does not obey: what is not printable is escaped.

    >>> print(printable("red \x1b[31m, and a second\nline"))
    red \x1b[31m, and a second\nline
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def one_of(name, known: Iterable[str], what: str) -> None:
    """Returns if `name` is one of `known`.

    Args:
        what: the kind of thing it is, for the message.

    Raises:
        InputError: it is not; the message lists what is known.

    >>> one_of("jax", ("jax", "torch"), "backend")
    """
    if name not in known:
        raise InputError(f"unknown {what} '{name}'; known are {', '.join(known)}")
