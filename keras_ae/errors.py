"""The errors that a user can fix."""

from collections.abc import Iterable


class InputError(ValueError):
    """Something given cannot be used; the message is one line that says what to do.

    The scripts print it without a traceback and exit with code 2.
    """


class NotFiniteError(RuntimeError):
    """Training stopped because losses, gradients or weights are not finite; nothing that is not finite was saved."""


class CheckpointError(OSError):
    """Training stopped because its state cannot be written; the last state written is intact."""


def one_of(name, known: Iterable[str], what: str) -> None:
    """Returns if `name` is one of `known`.

    Args:
        what: the kind of thing that is named, for the message.

    Raises:
        InputError: it is not; the message lists what is known.
    """
    if name not in known:
        raise InputError(f"unknown {what} '{name}'; known are {', '.join(known)}")
