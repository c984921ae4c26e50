"""Files that are written whole or not at all, JSON that is checked when it is read, and the lock of a folder."""

import contextlib
import hashlib
import json
import os
import secrets
import warnings
import zlib
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from pathvalidate import sanitize_filename

from keras_ae.errors import InputError, printable

CHECKSUM = "crc32"
NAME_LIMIT = 100  # bytes of a name made of something else
JSON_LIMIT = 2**24  # bytes that are read: no file of a run or a search comes near


def safe_name(text: str) -> str:
    """A name for one file in the folder that it is put into, on every system, whatever the text holds.

    Names that come from a model, a data set or another file go through this, so that they reach no other folder.

    >>> safe_name("cat"), safe_name("../../x"), safe_name(".."), safe_name("CON")
    ('cat', '_.._x', '_', 'CON_')
    """
    text = str(text).encode(errors="backslashreplace").decode()
    name = sanitize_filename(text, replacement_text="_", platform="universal", max_len=NAME_LIMIT)
    return name.lstrip(" .") or "_"


@contextlib.contextmanager
def atomic(path: Path):
    """Gives a temporary path next to `path`, with the same suffix, and moves it there when the block succeeds."""
    path = Path(path)
    # Nobody can have put a link there: the name cannot be guessed.
    temporary = path.with_name(f".{path.stem[:50]}.{secrets.token_hex(8)}.tmp{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def dispensable(path: Path):
    """Gives the path. If writing it fails, in whatever way, a warning says so and the training continues."""
    try:
        yield path
    except Exception as error:
        reason = printable(error) or type(error).__name__
        warnings.warn(f"{printable(path)} is not written ({reason}); the training continues", stacklevel=3)


def write_json(path: Path, content: dict) -> None:
    """Writes `content` with a checksum next to its keys."""
    content = json.loads(json.dumps(content))  # as it will be read
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({**content, CHECKSUM: checksum(content)}, indent=1))


def read_json(path: Path) -> dict:
    """What `write_json` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not as it was written.
    """
    try:
        content = json.loads(read_small(path))
        expected = content.pop(CHECKSUM)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} has no checksum") from error
    if expected != checksum(content):
        raise ValueError(f"{path} was changed")
    return content


def read_small(path: Path) -> str:
    """The text of a file that may come from a stranger.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is larger than 16 MiB, or no text.
    """
    if path.stat().st_size > JSON_LIMIT:
        raise ValueError(f"{path} is larger than {JSON_LIMIT:,} bytes")
    return path.read_text()


def checksum(content) -> int:
    """Of anything that JSON can hold."""
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def digest(arrays, salt: str = "") -> str:
    """16 hexadecimal digits of arrays: other ones have others."""
    sha = hashlib.sha256(salt.encode())
    for array in arrays:
        sha.update(np.ascontiguousarray(array))
    return sha.hexdigest()[:16]


@contextlib.contextmanager
def lock(folder: Path):
    """Keeps other processes out of `folder`; the system takes the lock from a process that dies.

    Raises:
        InputError: another process is in it. Or as `refuse_links`.
    """
    refuse_links(folder)
    process = folder / ".process"
    try:
        with FileLock(folder / ".lock", blocking=False):
            with atomic(process) as temporary:
                temporary.write_text(str(os.getpid()))
            yield
    except Timeout as error:
        number = process.read_bytes()[:20].decode(errors="replace")
        raise InputError(f"{folder} is in use by process {number}; wait for it, or stop it") from error


def refuse_links(folder: Path) -> None:
    """Returns if the folder holds nothing but files and folders: what is written into a stranger's stays in it.

    Raises:
        InputError: it holds a link, or something else that is no file.
    """
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink():
                raise InputError(f"{path} is a symbolic link, which no run and no search makes; take another folder")
            if not (path.is_file() or path.is_dir()) and os.path.lexists(path):
                raise InputError(f"{path} is no file, and no run and no search makes it; take another folder")


def remove_leftovers(folder: Path) -> None:
    """Removes what a process that was killed while it wrote into `folder` has left."""
    for path in folder.glob(".*.tmp.*"):
        path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    with contextlib.suppress(OSError):  # not every system opens a folder
        _sync(path)


def _sync(path: Path) -> None:
    """Waits until it is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
