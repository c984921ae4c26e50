"""The codes of many images in one file, and images from them again."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.lib import format as npy

from keras_ae import backends
from keras_ae.data import Dataset, Split
from keras_ae.errors import InputError, one_of
from keras_ae.files import atomic, digest
from keras_ae.models import VAE

KINDS = ("means", "samples", "tokens")
BATCH_SIZE = 128
ABOUT = "about.json"
VALIDATES = 20  # one image in so many


@dataclass(frozen=True)
class Codes:
    """What `open_codes` reads. The arrays are on the disk, and what is taken of them comes into memory.

    Attributes:
        codes: (n, *code_shape) float32; of tokens (n, h, w) int32.
        labels: (n,) int32.
        kind: "means", "samples" or "tokens".
        class_names: of the labels.
        model: the `fingerprint` of the model that made them.
        flip: whether the code of each image is followed by that of its mirror image.

    >>> Codes(np.zeros((2, 4), "float32"), np.zeros(2, "int32"), "means", [], "0").kind
    'means'
    """

    codes: np.ndarray
    labels: np.ndarray
    kind: str
    class_names: list[str]
    model: str
    flip: bool = False

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class CodeSplit(Split):
    """A split of codes, whose batches are `{"code", "label"}`.

    >>> arrays = {"codes": np.zeros((3, 4), "float32"), "labels": np.zeros(3, "int32")}
    >>> CodeSplit(arrays, np.array([0, 2])).batch(slice(0, 2))["code"].shape
    (2, 4)
    """

    def batch(self, places, **kwargs) -> dict[str, np.ndarray]:
        rows = self.indices[places]
        return {"code": np.array(self.arrays["codes"][rows]), "label": np.array(self.arrays["labels"][rows])}


@dataclass(frozen=True)
class CodeDataset(Dataset):
    """The codes of images of a shape.

    >>> CodeDataset("codes", [], *3 * [CodeSplit({}, np.arange(0))], shape=(8, 8, 1)).image_shape
    (8, 8, 1)
    """

    shape: tuple[int, int, int] = (0, 0, 0)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.shape


def as_dataset(codes: Codes, image_shape: tuple[int, int, int], source: str | None = None) -> CodeDataset:
    """What `train` takes: one image in 20 validates, and none tests.

    Args:
        image_shape: of the images that they are codes of.
        source: the name of their data set.

    >>> codes = Codes(np.zeros((40, 4), "float32"), np.zeros(40, "int32"), "means", [], "0")
    >>> dataset = as_dataset(codes, (8, 8, 1))
    >>> len(dataset.train), len(dataset.validation), dataset.train.batch(slice(0, 2))["code"].shape
    (38, 2, (2, 4))
    """
    arrays = {"codes": codes.codes, "labels": codes.labels}
    images = np.arange(len(codes)) // (2 if codes.flip else 1)
    held_out = images % VALIDATES == VALIDATES - 1
    indices = np.flatnonzero(~held_out), np.flatnonzero(held_out), np.arange(0)
    splits = (CodeSplit(arrays, part) for part in indices)
    return CodeDataset("codes", codes.class_names, *splits, source=source, shape=image_shape)


def encode(
    model: keras.Model,
    split: Split,
    path: Path | str,
    *,
    kind: str | None = None,
    class_names=(),
    seed: int = 0,
    flip: bool = False,
) -> Path:
    """Writes the codes of all images of a split, a batch at a time.

    Args:
        model: a `VAE`, or a convolutional autoencoder whose code is all that its decoder is given.
        path: of the file, an uncompressed .npz of `codes` and `labels`, which `numpy.load` reads, too.
        kind: "means" of the posterior, "samples" of it, or "tokens" of a discrete latent. Tokens where there are some,
            else means, where `None`.
        class_names: what the labels mean, for those who read the file.
        seed: of samples. The noise of an image depends on it and on the image's place alone.
        flip: write the code of each image's mirror image, too, after the image's own.

    Returns:
        The path.

    Raises:
        InputError: the model has no codes of that kind, or the split no images.

    >>> import tempfile, keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> vae = keras_ae.build_vae(shapes.image_shape, (2, 2), latent="fsq:5x5", width=4)
    >>> path = encode(vae, shapes.test, tempfile.mkdtemp() + "/codes.npz")
    >>> open_codes(path).codes.shape
    (40, 2, 2)
    """
    kind = _checked_kind(model, kind)
    if not len(split):
        raise InputError("there are no images to encode; choose another split")
    if flip:
        split = _Mirrored(**vars(split) | {"indices": np.repeat(split.indices, 2)})
    batches = (_codes(model, split, slice(start, start + BATCH_SIZE), kind, seed) for start in _starts(len(split)))
    first = next(batches)
    about = {"kind": kind, "class_names": list(class_names), "model": fingerprint(model), "flip": flip}
    path = Path(path)
    if not backends.is_first():
        for _ in batches:  # which all processes compute together
            pass
        return backends.once(path.exists) and path
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open("codes.npy", "w", force_zip64=True) as file:
            header = npy.header_data_from_array_1_0(first) | {"shape": (len(split), *first.shape[1:])}
            npy.write_array_header_1_0(file, header)
            file.write(first.tobytes())
            for batch in batches:
                file.write(batch.tobytes())
        with archive.open("labels.npy", "w") as file:
            npy.write_array(file, split.arrays["labels"][split.indices].astype("int32"), allow_pickle=False)
        archive.writestr(ABOUT, json.dumps(about))
    return backends.once(path.exists) and path


def open_codes(path: Path | str) -> Codes:
    """The codes of a file that `encode` wrote.

    Raises:
        InputError: it is no such file.

    >>> open_codes("nothing.npz")
    Traceback (most recent call last):
        ...
    keras_ae.errors.InputError: there is no file nothing.npz; write codes with train/encode.py
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file {path}; write codes with train/encode.py")
    try:
        with zipfile.ZipFile(path) as archive:
            codes, labels = (_mapped(path, archive, name) for name in ("codes.npy", "labels.npy"))
            about = json.loads(archive.read(ABOUT))
        kind, class_names, model = (about[name] for name in ("kind", "class_names", "model"))
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no codes ({error}); write them again with train/encode.py") from error
    if kind not in KINDS or labels.shape != codes.shape[:1]:
        raise InputError(f"{path} is damaged; write it again with train/encode.py")
    return Codes(codes, labels, kind, class_names, model, about.get("flip", False))


def decode(model: keras.Model, codes: Codes) -> Iterator[np.ndarray]:
    """The images of codes, (n, height, width, channels) in [0, 1], a batch at a time.

    Raises:
        InputError: the codes are another model's.

    >>> import tempfile, keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> vae = keras_ae.conv_vae(shapes.image_shape, 2, width=4)
    >>> codes = open_codes(encode(vae, shapes.test, tempfile.mkdtemp() + "/codes.npz"))
    >>> np.concatenate(list(decode(vae, codes))).shape
    (40, 8, 8, 3)
    """
    check_model(model, codes)
    for start in _starts(len(codes)):
        part = slice(start, start + BATCH_SIZE)
        yield _images(model, np.array(codes.codes[part]), np.array(codes.labels[part]))


def check_model(model: keras.Model, codes: Codes) -> None:
    """Returns if the model made the codes.

    Raises:
        InputError: another one did.
    """
    if codes.model != fingerprint(model):
        raise InputError("these codes are of another model; encode the images again with this one")


def fingerprint(model: keras.Model) -> str:
    """Of a model's weights: another model has another.

    >>> import keras_ae
    >>> len(fingerprint(keras_ae.conv_vae((8, 8, 1), 2, width=4)))
    16
    """
    return digest(model.get_weights())


def _checked_kind(model, kind: str | None) -> str:
    has_tokens = isinstance(model, VAE) and model.latent.is_discrete
    kind = kind or ("tokens" if has_tokens else "means")
    one_of(kind, KINDS, "kind of code")
    if isinstance(model, VAE):
        if has_tokens != (kind == "tokens"):
            raise InputError(f"this model has no {kind}; take {'tokens' if has_tokens else 'means or samples'}")
        return kind
    if kind != "means":
        raise InputError(f"an autoencoder has no {kind}; take means")
    inputs = {tensor.name for tensor in model.inputs}
    if len(model.get_layer("encoder").outputs) > 1 or "mask" in inputs:
        raise InputError("the code of this autoencoder is not all that its decoder is given; take one without")
    return kind


@dataclass(frozen=True)
class _Mirrored(Split):
    """A split that holds each image twice, the second time mirrored left to right."""

    def batch(self, places, **kwargs) -> dict[str, np.ndarray]:
        batch = super().batch(places, **kwargs)
        second = np.arange(len(self))[places] % 2 == 1
        batch["image"][second] = batch["image"][second, :, ::-1]
        return batch


def _starts(count: int) -> range:
    return range(0, count, BATCH_SIZE)


def _codes(model, split: Split, places: slice, kind: str, seed: int) -> np.ndarray:
    batch = split.batch(places)
    if not isinstance(model, VAE):
        return _of_network(model.get_layer("encoder"), batch["image"], batch["label"])
    label = batch["label"] if model.conditioning != "none" else None
    if kind == "tokens":
        return model.encode(batch["image"], label)
    if kind == "means":
        return model.code(batch["image"], label)
    rows = range(places.start, places.start + len(batch["image"]))
    noise = [np.random.default_rng([seed, row]).standard_normal(model.latent_shape, "float32") for row in rows]
    return model.propose(batch["image"], label, np.stack(noise), np.stack(noise))[0]


def _images(model, codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if isinstance(model, VAE):
        return model.decode(codes, labels if model.conditioning != "none" else None)
    return np.clip(_of_network(model.get_layer("decoder"), codes, labels), 0, 1)


def _of_network(network, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What a network gives, with labels where it takes some."""
    return backends.predict(network, [x, labels][: len(network.inputs)])


def _mapped(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of numbers that an archive holds as it is, mapped from the disk.

    Raises:
        ValueError: it does not.
    """
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(name) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is of another version")
        shape, fortran_order, dtype = npy.read_array_header_1_0(file)
        header = file.tell()
    if dtype not in (np.dtype("float32"), np.dtype("int32")) or fortran_order:
        raise ValueError(f"{name} holds {dtype}")
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # where a member says how long its name and the rest of its header are
        lengths = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
    return np.memmap(path, dtype, "r", info.header_offset + 30 + lengths + header, shape)
