"""Writing a file whole or not at all."""

import contextlib
import os
import warnings
from pathlib import Path


@contextlib.contextmanager
def atomic(path: Path):
    """Gives a temporary path beside `path`, with its ending, and moves it there when the block ends well."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # not every system opens a folder
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def dispensable(path: Path):
    """Gives the path; if writing it fails, in whatever way, a warning says so and the training goes on."""
    try:
        yield path
    except Exception as error:
        warnings.warn(f"{path} is not written ({error or type(error).__name__}); the training goes on", stacklevel=3)


def remove_leftovers(folder: Path) -> None:
    """Removes what a process that was killed while it wrote into `folder` has left."""
    for path in folder.glob(".*.tmp.*"):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Waits until it is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
