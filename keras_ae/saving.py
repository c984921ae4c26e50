"""`.keras` files: written atomically, with the metadata that a user of the file needs inside."""

import json
import zipfile
from pathlib import Path

import keras

from keras_ae.errors import InputError
from keras_ae.files import atomic
from keras_ae.trust import METADATA, check


def save_model(model: keras.Model, path: Path | str, metadata: dict | None = None) -> Path:
    """Writes the model in float32, without its optimizer, and `metadata` (JSON) inside the file.

    The file appears whole or not at all. Ship it, sample from it, or compile it again to train on.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    config = json.dumps(model.get_config())
    for policy in ("mixed_bfloat16", "mixed_float16"):  # how it was trained; the weights are float32
        config = config.replace(f'"{policy}"', '"float32"')
    bare = type(model).from_config(json.loads(config))
    bare.set_weights(model.get_weights())
    with atomic(path) as temporary:
        bare.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(METADATA, json.dumps(metadata or {}, indent=1))
    return path


def load_model(path: Path | str, *, trust: bool = False) -> keras.Model:
    """Loads a `.keras` file saved on any backend.

    A file may come from a stranger: nothing in it is built before all of it is known to be harmless, which is what
    this package writes with stock Keras layers (`keras_ae/trust.py`).

    Args:
        trust: load whatever Keras loads, layers of your own, too. Code in the file may run.

    Raises:
        InputError: the file is missing, damaged, refused, or holds no model of this package.
    """
    if METADATA not in _members(Path(path)):
        raise InputError(f"{path} is a Keras file, but none of keras_ae; load it with keras.saving.load_model")
    if not trust:
        check(path)
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever Keras meets in a damaged file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150]
        raise InputError(f"{path} does not load ({reason}); it may be damaged or of a newer version") from error


def read_metadata(path: Path | str) -> dict:
    """The metadata saved with the model: data set, class names, image shape, likelihood, flags, versions.

    Raises:
        InputError: as `load_model`.
    """
    path = Path(path)
    if METADATA not in _members(path):
        raise InputError(f"{path} is a Keras file, but none of keras_ae")
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(METADATA))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(f"{path} is damaged: its metadata cannot be read") from error


def _members(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a .keras file written by train/vae.py")
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} is no .keras file, or a truncated one") from error
