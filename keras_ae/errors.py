"""The errors that a user can mend."""


class InputError(ValueError):
    """Something given cannot be used; the message is one line that says what to do.

    The scripts print it without a traceback and exit with code 2.
    """


class NotFiniteError(RuntimeError):
    """Training stopped because too many steps in a row had no finite loss or gradient."""
