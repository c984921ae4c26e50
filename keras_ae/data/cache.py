"""Decoded images on disk: built once, memory-mapped ever after.

A cache entry is a folder of raw arrays and a `meta.json` that says what they are, what they were
made from and what their bytes sum to. One process writes it, next to its final place, and renames it:
an entry either is whole or is not there. The others wait for the entry's lock. The system takes that
lock from a process that dies, which is how the next one knows what to remove.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np
from filelock import FileLock, Timeout

from keras_ae.errors import InputError
from keras_ae.files import read_json, safe_name, write_json

# What an entry that is not whole raises.
BROKEN = (OSError, ValueError)
# Where an entry is built; with the second ending by earlier versions, which had no locks.
BUILDING = re.compile(r"\.(?P<entry>.+-[0-9a-f]{16})(\.building|-[a-z0-9_]{8})")
DAY = 24 * 3600
FORMAT = 1  # part of every key: a change of layout makes old entries unreachable


class Source(Protocol):
    """Where images come from."""

    name: str

    def key(self) -> dict:
        """What the arrays depend on, as JSON: equal keys mean equal arrays."""

    def write(self, writer: "Writer") -> list[str]:
        """Appends all images to `writer` and returns the class names."""


class Writer:
    """Appends blocks of arrays to the files of one cache entry, without knowing their number."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = {}
        self.arrays = {}

    def append(self, split: str, **blocks: np.ndarray) -> None:
        """Adds blocks of equal length, e.g. `images` (n, height, width, channels) uint8 and `labels` (n,)."""
        for name, block in blocks.items():
            array = f"{split}/{name}"
            block = np.ascontiguousarray(block)
            if array not in self.files:
                file = f"{split}_{name}.bin"
                self.files[array] = open(self.folder / file, "wb")  # noqa: SIM115 (closed by `close`)
                self.arrays[array] = {
                    "file": file,
                    "dtype": str(block.dtype),
                    "shape": [0, *block.shape[1:]],
                    "crc32": 0,
                }
            entry = self.arrays[array]
            self.files[array].write(block)
            entry["shape"][0] += len(block)
            entry["crc32"] = zlib.crc32(block, entry["crc32"])

    def close(self, **meta) -> None:
        for array, file in self.files.items():
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self.arrays[array]["mtime_ns"] = os.stat(file.name).st_mtime_ns
        write_json(self.folder / "meta.json", {**meta, "arrays": self.arrays})


def default_cache_dir() -> Path:
    """`KERAS_HOME/keras_ae`, where `KERAS_HOME` is `~/.keras` unless the environment says otherwise."""
    return expanded(os.environ.get("KERAS_HOME") or "~/.keras", "set KERAS_HOME, or give --cache-dir") / "keras_ae"


def cache_folder(cache_dir: Path | str | None = None) -> Path:
    """The folder that was given, or the default one."""
    return expanded(cache_dir or default_cache_dir())


def expanded(path: Path | str, way_out: str = "give the whole path") -> Path:
    """The path, with the home folder for a `~`.

    Raises:
        InputError: the system knows no such home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path} is nowhere: the system knows no such home folder; {way_out}") from error


def open_or_build(source: Source, cache_dir: Path | str | None = None) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the arrays of `source` by name ("train/images", ...), memory-mapped, and its class names.

    Raises:
        InputError: the cache folder cannot be written.
    """
    key = json.loads(json.dumps({"format": FORMAT, **source.key()}))  # as it comes back from the file
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder(cache_dir) / f"{safe_name(source.name)}-{digest}"
    with contextlib.suppress(*BROKEN):  # not there, or damaged in any way: made again
        return _open(folder, key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder.name, folder.parent):
            with contextlib.suppress(*BROKEN):
                return _open(folder, key)  # another process has built it meanwhile
            _build(source, key, folder)
            return _open(folder, key)
    except OSError as error:
        raise InputError(f"cannot fill the cache {folder.parent} ({error}); choose another with --cache-dir") from error


def _open(folder: Path, key: dict) -> tuple[dict[str, np.ndarray], list[str]]:
    meta = read_json(folder / "meta.json")
    if meta["key"] != key:
        raise ValueError(f"{folder} was made from something else")
    arrays = {}
    for name, entry in meta["arrays"].items():
        file = folder / entry["file"]
        shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        if file.stat().st_size != int(np.prod(shape)) * dtype.itemsize:
            raise ValueError(f"{file} is truncated")
        array = np.memmap(file, dtype=dtype, mode="r", shape=shape)
        # Reading every byte takes a second per GB: done only when the file was touched since it was written.
        if file.stat().st_mtime_ns != entry["mtime_ns"] and zlib.crc32(array) != entry["crc32"]:
            raise ValueError(f"{file} is damaged")
        arrays[name] = array
    return arrays, meta["class_names"]


def _lock(entry: str, cache: Path, **options) -> FileLock:
    return FileLock(cache / f".{entry}.lock", **options)


def _build(source: Source, key: dict, folder: Path) -> None:
    """Makes the entry, whose lock this process has."""
    _sweep(folder.parent)
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)  # of one that was killed
    building.mkdir(mode=0o700)
    writer = Writer(building)
    try:
        class_names = source.write(writer)
        writer.close(key=key, class_names=class_names)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
        os.replace(building, folder)
    finally:
        for file in writer.files.values():
            file.close()
        shutil.rmtree(building, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Removes what processes that were killed have left."""
    for path in cache.glob(".*"):
        found = BUILDING.fullmatch(path.name)
        # One that is gone, is being built or belongs to another user is not ours to remove.
        with contextlib.suppress(Timeout, OSError):
            if found and path.suffix == ".building":
                with _lock(found["entry"], cache, blocking=False):
                    shutil.rmtree(path)
            elif found and time.time() - path.stat().st_mtime > DAY:
                shutil.rmtree(path)
