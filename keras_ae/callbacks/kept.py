"""A checkpoint may come from a stranger: what it says is compared with what a training writes before it is used."""

import math
import zipfile
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_ae.errors import InputError

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ImpossibleError(ValueError):
    """What no training writes."""


class Header(NamedTuple):
    """What an array says of itself: its shape, and the kind of its numbers as NumPy's letter."""

    shape: tuple[int, ...]
    kind: str


def check_archive(path: Path) -> None:
    """Compares the checksums of an .npz file as `np.savez` writes it: nothing in it grows when it is read.

    Raises:
        zipfile.BadZipFile: it is damaged, or of another kind.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise zipfile.BadZipFile("something is compressed")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise zipfile.BadZipFile("members lie in each other")
        if min((member.header_offset for member in members), default=0) < 0:
            raise zipfile.BadZipFile("a member lies before the beginning")
        if (broken := archive.testzip()) is not None:
            raise zipfile.BadZipFile(broken)


def read_headers(path: Path) -> dict[str, Header]:
    """The header of each array, without its numbers.

    Raises:
        ValueError: something in the file is no array, has the name of another or is not as large as it says.
    """
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
                size = file.tell() + math.prod(shape) * dtype.itemsize
            if name in headers or size != member.file_size:
                raise ImpossibleError(f"{member.filename} is not what it says")
            headers[name] = Header(shape, dtype.kind)
    return headers


def check_headers(headers: dict[str, Header], variables: dict, path: Path) -> list[str]:
    """Compares the arrays with the model, before their numbers are read. Returns the names of the running sums."""
    if headers["state"] != Header((), "U"):
        raise ImpossibleError("its state is no text")
    sums = [f"metric_{number}" for number in range(sum(name.startswith("metric_") for name in headers))]
    new = {name for name in variables.keys() - headers.keys() if name.startswith("setting_")}  # since version 0.2
    shapes = {name: tuple(variable.shape) for name, variable in variables.items() if name not in new}
    if {name: header.shape for name, header in headers.items() if name not in ("state", *sums)} != shapes:
        raise InputError(f"{path} is the checkpoint of another model")
    for name, header in headers.items():
        kinds = "f" if name in sums else _kinds(variables[name]) if name in variables else "U"
        if header.kind not in kinds:
            raise ImpossibleError(f"{name} holds numbers of another kind")
    return sums


def _kinds(variable) -> str:
    """NumPy's letters of what a variable may be set to."""
    if keras.backend.is_float_dtype(variable.dtype):
        return "f"
    return "iu" if keras.backend.is_int_dtype(variable.dtype) else "b"


def check_progress(state, steps: float, sums: int) -> None:
    """Returns if a `State` is one of a training of so many steps an epoch, with so many running sums."""
    numbers = [_row_number(row) for row in state.history]
    if not isinstance(state.history, list) or numbers != list(range(1, len(numbers) + 1)):
        raise ImpossibleError("its history is not that of epochs 1, 2, ...")
    if type(state.batch) is not int or not 0 <= state.batch < steps:
        raise ImpossibleError(f"batch {state.batch} of {steps}")
    if bool(sums) != bool(state.batch):
        raise ImpossibleError(f"{sums} running sums at batch {state.batch}")
    if not isinstance(state.stream, dict):
        raise ImpossibleError("its batches are not described")


def _row_number(row: dict) -> int | None:
    """Of a row of a history; `None` where it is none."""
    is_row = isinstance(row, dict) and all(type(value) in (int, float) for value in row.values())
    return row.get("epoch") if is_row else None
