"""The members of a `.keras` file and the weights in it: what they are, and that nothing grows when it is read."""

import json
import zipfile

import h5py

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
METADATA = "keras_ae.json"  # ours, next to Keras's own members
MEMBERS = {"metadata.json", CONFIG, WEIGHTS, METADATA}
TEXT_LIMIT = 2**24  # bytes of a member that is JSON


class RefusedError(ValueError):
    """What in the file is not allowed."""


def check_members(archive: zipfile.ZipFile) -> None:
    """Returns if the archive holds the members that `save_model` or Keras writes, as they are, and undamaged."""
    names = archive.namelist()
    if len(names) != len(set(names)) or set(names) | {METADATA} != MEMBERS:  # Keras's own files lack ours
        unknown = sorted(set(names) - MEMBERS) or sorted(MEMBERS - set(names)) or names
        raise RefusedError(f"its members are not those that save_model writes ({', '.join(unknown)[:100]})")
    for entry in archive.infolist():
        _check_stored(entry)
    if (broken := archive.testzip()) is not None:
        raise zipfile.BadZipFile(broken)


def read_json(archive: zipfile.ZipFile, name: str):
    """What a member says. It is not decompressed, and not read where it is too long."""
    _check_stored(archive.getinfo(name))
    return json.loads(archive.read(name))


def _check_stored(entry: zipfile.ZipInfo) -> None:
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise RefusedError(f"its {entry.filename[:50]} is compressed or encrypted")
    if entry.filename != WEIGHTS and entry.file_size > TEXT_LIMIT:
        raise RefusedError(f"its {entry.filename[:50]} has {entry.file_size:,} bytes")


def count_numbers(archive: zipfile.ZipFile) -> int:
    """How many weights lie in the HDF5 file itself: without links, filters or other files."""
    numbers, seen = 0, set()
    with archive.open(WEIGHTS) as member, h5py.File(member, "r") as file:
        stack = [file]
        while stack:
            for one in _children(stack.pop()):
                address = h5py.h5o.get_info(one.id).addr
                if address in seen:
                    raise RefusedError(f"its weights {one.name} are linked twice")
                seen.add(address)
                if isinstance(one, h5py.Group):
                    stack.append(one)
                else:
                    numbers += _count(one)
    return numbers


def _children(group: h5py.Group):
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise RefusedError(f"its weights {group.name}/{name} are a link")
        yield group[name]


def _count(one) -> int:
    """The numbers of a data set, each of which is in the file."""
    if not isinstance(one, h5py.Dataset) or one.external or one.is_virtual:
        raise RefusedError(f"its weights {one.name} are not stored in it")
    if one.dtype.kind not in "fiub":
        raise RefusedError(f"its weights {one.name} are not numbers")
    if one.id.get_create_plist().get_nfilters() or one.id.get_storage_size() != one.nbytes:
        raise RefusedError(f"its weights {one.name} are not stored in it as they are")
    return one.size
