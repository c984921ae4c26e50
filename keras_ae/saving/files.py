"""`.keras` files: written whole or not at all, with what a user of the file needs to know inside."""

import contextlib
import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras.src.saving import saving_lib

from keras_ae.errors import InputError
from keras_ae.files import atomic
from keras_ae.models.guarded import shipped
from keras_ae.saving.schema import check_metadata
from keras_ae.trust import MEMORY, METADATA, RefusedError, check, read_json


def save_model(model: keras.Model, path: Path | str, metadata: dict | None = None) -> Path:
    """Writes the model in float32, without its optimizer, and `metadata` (JSON) inside the file.

    The file appears whole or not at all. Ship it, sample from it, or compile it again to train on.

    Args:
        metadata: what the file says of itself, as the function `metadata` makes it. Keys of your own are welcome.

    Raises:
        InputError: the metadata contradicts the schema.

    >>> import tempfile, keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> path = keras_ae.save_model(vae, tempfile.mkdtemp() + "/vae.keras", {"dataset": "shapes"})
    >>> keras_ae.read_metadata(path)
    {'dataset': 'shapes'}
    >>> keras_ae.load_model(path).sample(2).shape
    (2, 8, 8, 3)
    """
    path = Path(path)
    metadata = json.loads(json.dumps(metadata or {}))  # as it will be read
    check_metadata(metadata, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = shipped(model)
    config = json.dumps(model.get_config())
    for policy in ("mixed_bfloat16", "mixed_float16"):  # how it was trained; the weights are float32
        config = config.replace(f'"{policy}"', '"float32"')
    bare = type(model).from_config(json.loads(config))
    bare.set_weights(model.get_weights())
    with atomic(path) as temporary:
        bare.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(METADATA, json.dumps(metadata, indent=1))
    return path


def load_model(path: Path | str, *, trust: bool = False, memory: int = MEMORY) -> keras.Model:
    """Loads a `.keras` file saved on any backend.

    A file may come from a stranger: nothing in it is built before all of it is known to be harmless, which is what
    this package writes with stock Keras layers (`keras_ae/trust`).

    Args:
        trust: load whatever Keras loads, layers of your own, too. Code in the file may run.
        memory: bytes that one image may take in the model. A larger model is refused.

    Raises:
        InputError: the file is missing, damaged, refused, or holds no model of this package.

    >>> import tempfile, keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> path = keras_ae.save_model(vae, tempfile.mkdtemp() + "/vae.keras", {"epoch": 3})
    >>> load_model(path).image_shape
    (8, 8, 1)
    """
    return read_model(path, trust=trust, memory=memory)[0]


def read_model(
    path: Path | str, *, trust: bool = False, memory: int = MEMORY, own: bool = True
) -> tuple[keras.Model, dict]:
    """The model and the metadata of one reading of the file, so that what is checked is what is loaded.

    The other arguments and errors are those of `load_model`.

    Args:
        own: whether only files of this package will do.
    """
    path = Path(path)
    content, metadata = _read(path, own)
    if not trust:
        with _reported(path, own), zipfile.ZipFile(io.BytesIO(content)) as archive:
            check(archive, memory)
    try:
        # keras.saving.load_model takes paths only, and what a path leads to may change between two readings.
        model = saving_lib.load_model(io.BytesIO(content), compile=False)
    except Exception as error:  # whatever Keras meets in a damaged file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:150]
        raise InputError(f"{path} does not load ({reason}); it may be damaged or of a newer version") from error
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise InputError(f"{path} holds weights that are not finite; get another file, or train again")
    return model, metadata


def load_network(path: Path | str, *, trust: bool = False, memory: int = MEMORY) -> keras.Model:
    """A network of any `.keras` file, which Keras itself may have written: for its features.

    Arguments and errors are those of `load_model`.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/network.keras"
    >>> keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)]).save(path)
    >>> load_network(path).output_shape
    (None, 6, 6, 4)
    """
    return read_model(path, trust=trust, memory=memory, own=False)[0]


def read_metadata(path: Path | str) -> dict:
    """The metadata saved with the model, checked against the schema.

    Raises:
        InputError: as `load_model`; or the metadata contradicts the schema.

    >>> import tempfile, keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> path = keras_ae.save_model(vae, tempfile.mkdtemp() + "/vae.keras", {"epoch": 3})
    >>> read_metadata(path)["epoch"]
    3
    """
    return _read(Path(path))[1]


def _read(path: Path, own: bool = True) -> tuple[bytes, dict]:
    """All bytes of the file, and the metadata in them."""
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a .keras file")
    try:
        content = path.read_bytes()
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise InputError(f"{path} is no .keras file, or a truncated one") from error
    with archive:
        if METADATA not in archive.namelist():
            if not own:
                return content, {}
            raise InputError(f"{path} is a Keras file, but none of keras_ae; load it with keras.saving.load_model")
        with _reported(path):
            metadata = read_json(archive, METADATA)
    check_metadata(metadata, path)
    # Files saved before kept these two among the flags of the training script only.
    flags = metadata.get("flags") or {}
    metadata = {name: flags[name] for name in ("loss", "image_size") if name in flags} | metadata
    check_metadata(metadata, path)
    return content, metadata


def _first(error: BaseException) -> BaseException:
    """The error that all others came from."""
    while error.__context__:
        error = error.__context__
    return error


@contextlib.contextmanager
def _reported(path: Path, own: bool = True):
    """Makes what is found in a file of a stranger one line."""
    try:
        yield
    except RefusedError as error:
        way_out = "--trust (in Python trust=True)" if own else "in Python load_network(path, trust=True)"
        raise InputError(f"{path} is refused: {error}. If you know who made it, {way_out} loads it") from error
    except Exception as error:  # the file may hold anything, and what reads it stumbles in as many ways
        if isinstance(first := _first(error), InputError):  # of a class of ours, in what Keras made of it
            raise InputError(f"{path} is refused: {first}") from error
        raise InputError(f"{path} is damaged ({type(error).__name__}); get it again") from error
