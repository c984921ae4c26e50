"""The errors that a user can mend."""


class InputError(ValueError):
    """Something given cannot be used; the message is one line that says what to do.

    The scripts print it without a traceback and exit with code 2.
    """


class NotFiniteError(RuntimeError):
    """Training stopped because losses, gradients or weights are not finite; nothing that is not finite was saved."""


class CheckpointError(OSError):
    """Training stopped because its state cannot be written; the last state written is intact."""
