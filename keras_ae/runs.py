"""What a run folder keeps, and how a run is begun, resumed or started from another model's weights."""

import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

import keras

from keras_ae.errors import InputError
from keras_ae.files import checksum, read_json, read_small, refuse_links, sync_folder, write_json
from keras_ae.models.guarded import shipped
from keras_ae.networks.conv import of_block
from keras_ae.saving import load_model

CONFIG = "config.json"
MODEL = "model.keras"
PLACES = (
    "data_dir",
    "cache_dir",
    "run_dir",
    "output",
    "resume",
    "start_from",
    "features",
)  # what may move without a change


def plain(flags: dict, without=()) -> dict:
    """The flags as they come back from a file. Paths are absolute, so that a run resumes from any folder.

    >>> plain({"image_size": (8, 8), "epochs": 3}, without=["epochs"])
    {'image_size': [8, 8]}
    """
    flags = {name: value for name, value in flags.items() if name not in without}
    for name, value in flags.items():
        is_folder = name == "dataset" and value not in (None, "shapes") and Path(value).expanduser().is_dir()
        if value and (name in PLACES or is_folder):
            flags[name] = str(Path(value).expanduser().absolute())
    return json.loads(json.dumps(flags))


def begin(folder: Path | str, flags: dict) -> Path:
    """Makes the folder of a new run, with the flags that began it in `config.json`.

    Args:
        flags: by name, anything that JSON can hold, and paths.

    Returns:
        The folder. It has its `config.json` from the start, or does not exist, after a power cut, too.

    Raises:
        InputError: it exists already or cannot be written.

    >>> import tempfile
    >>> folder = begin(Path(tempfile.mkdtemp()) / "run", {"epochs": 3})
    >>> read_flags(folder)
    {'epochs': 3}
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(
            f"{folder} exists already; choose another folder with --run-dir, or resume that run with "
            f"--resume {shlex.quote(str(folder))}"
        )
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    parents = list(folder.absolute().parents)
    new = [parent for parent in parents if not parent.exists()]
    try:
        building.mkdir(parents=True)
        write_json(building / CONFIG, {"flags": plain(flags)})
        building.rename(folder)
        for parent in parents[: len(new) + 1]:  # after a power cut there is all of it, or nothing
            sync_folder(parent)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        raise InputError(f"cannot write {folder} ({error.strerror}); choose another folder with --run-dir") from error
    return folder


def read_flags(folder: Path | str) -> dict:
    """The flags that began a run.

    Raises:
        InputError: there are none, or they are not as they were written.
    """
    path = Path(folder) / CONFIG
    try:
        try:
            flags = read_json(path)["flags"]
        except ValueError:
            flags = _read_older(path)
        return dict(flags.items())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the folder of a run") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged or was changed; the flags of a run must stay as they are. Start a new run"
        ) from error


def resume(folder: Path | str, output: Path | None = None) -> dict:
    """The flags of a run that is not finished. None of them may name what is opened or written: a stranger may have
    chosen them.

    Args:
        output: of the model, where it is not in the folder.

    Raises:
        InputError: it is finished: its model is saved. Or as `read_flags` and `files.refuse_links`.
    """
    refuse_links(Path(folder))
    flags = read_flags(folder)
    model = output or Path(folder) / MODEL
    if model.exists():
        raise InputError(f"{folder} is finished: {model} exists already; sample from it, or start a new run")
    return flags


def open_search(folder: Path | str, flags: dict, *, wait: bool = False) -> Path:
    """The folder of a search: a new one, or that of the same search, to continue it.

    Args:
        flags: that make the search what it is.
        wait: until another process has made the folder.

    Raises:
        InputError: the folder is that of a search with other flags. Or as `begin`, `read_flags` and
            `files.refuse_links`.
    """
    folder = Path(folder)
    while wait and not (folder / CONFIG).exists():
        time.sleep(1)
    if not folder.exists():
        return begin(folder, flags)
    refuse_links(folder)
    before = read_flags(folder)
    for name, value in plain(flags).items():
        if before.get(name) != value:
            raise InputError(
                f"{folder} was begun with --{name.replace('_', '-')} {before.get(name)}, now it is {value}; "
                "give the same flags to continue, or another --run-dir"
            )
    return folder


def check_output(path: Path, *, card: bool = False) -> None:
    """Returns if a model, and a card in Markdown of its name, can be saved. It is better known before the training.

    Raises:
        InputError: the path does not end in .keras, exists already or cannot be written.
    """
    if path.suffix != ".keras":
        raise InputError(f"--output {path} must end in .keras")
    for file in (path, path.with_suffix(".md")) if card else (path,):
        if file.exists():
            raise InputError(f"{file} exists already; choose another place with --output")
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if not os.access(parent, os.W_OK):
        raise InputError(f"cannot write {path}; choose another place with --output")


def take_weights(model: keras.Model, file: Path | str) -> None:
    """Sets the weights of a model to those of a saved one. Residual blocks that the saved one lacks stay the identity.

    Raises:
        InputError: the file does not load, or its model has other weights.
    """
    model = shipped(model)
    saved = load_model(file, memory=sys.maxsize)  # it is not run
    weights = model.weights
    if not any(map(of_block, saved.weights)):
        weights = [weight for weight in weights if not of_block(weight)]
    same_shapes = [weight.shape for weight in saved.weights] == [weight.shape for weight in weights]
    if not same_shapes or _kinds(saved) != _kinds(model):
        raise InputError(f"{file} holds another model; give the same image size, code, width, blocks, classes and task")
    for weight, value in zip(weights, saved.get_weights(), strict=True):
        weight.assign(value)


def _kinds(model) -> list[str]:
    """Of the model's layers: their names without numbers."""
    return [layer.name.rstrip("_0123456789") for layer in model.layers]


def _read_older(path: Path) -> dict:
    """The flags in a file whose checksum is of the flags alone, as it was until version 0.1.0."""
    content = json.loads(read_small(path))
    if content["crc32"] != checksum(content["flags"]):
        raise ValueError("checksum")
    return content["flags"]
