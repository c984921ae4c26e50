"""Writing a file whole or not at all."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def atomic(path: Path):
    """Gives a temporary path beside `path`, with its ending, and moves it there when the block ends well."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
