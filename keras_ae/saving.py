"""`.keras` files: written whole or not at all, with what a user of the file needs to know inside.

path = save_model(model, "denoiser.keras", metadata(model, dataset, task=task))
saved = open_model(path)
evaluate(saved.model, saved.load_dataset(), task=saved.task())
"""

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import keras

import keras_ae
from keras_ae import data
from keras_ae.errors import InputError
from keras_ae.files import atomic
from keras_ae.models import VAE
from keras_ae.objectives import LIKELIHOODS
from keras_ae.tasks import TASKS, Task, get_task
from keras_ae.trust import METADATA, check

MODELS = ("vae", "conv_ae")


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
    _check_metadata(metadata, path)
    path.parent.mkdir(parents=True, exist_ok=True)
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


def load_model(path: Path | str, *, trust: bool = False) -> keras.Model:
    """Loads a `.keras` file saved on any backend.

    A file may come from a stranger: nothing in it is built before all of it is known to be harmless, which is what
    this package writes with stock Keras layers (`keras_ae/trust.py`). `save_model` has an example.

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
    """The metadata saved with the model, checked against the schema. `save_model` has an example.

    Raises:
        InputError: as `load_model`; or the metadata contradicts the schema.
    """
    path = Path(path)
    if METADATA not in _members(path):
        raise InputError(f"{path} is a Keras file, but none of keras_ae")
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read(METADATA))
    except (zipfile.BadZipFile, ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} is damaged: its metadata cannot be read") from error
    _check_metadata(metadata, path)
    # Files saved before kept these two among the flags of the training script only.
    flags = metadata.get("flags") or {}
    metadata = {name: flags[name] for name in ("loss", "image_size") if name in flags} | metadata
    _check_metadata(metadata, path)
    return metadata


def metadata(
    model: keras.Model,
    dataset: data.Dataset,
    *,
    task: Task | None = None,
    loss: str | None = None,
    image_size: tuple[int, int] | None = None,
    **more,
) -> dict:
    """What a saved file says of itself, for `save_model`.

    Args:
        dataset: what the model was trained on, as `data.load` gives it.
        task: of an autoencoder.
        loss: the name of the loss of an autoencoder; `None` for the task's own.
        image_size: what `data.load` was given; as the data set remembers it where `None`.
        more: what else is known, such as `flags`, `test`, `epoch`, `validation`, `tuned`.

    >>> import keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> vae = keras_ae.conv_vae(shapes.image_shape, latent_dim=2, width=4)
    >>> about = keras_ae.saving.metadata(vae, shapes, epoch=3)
    >>> about["model"], about["dataset"], about["image_size"], about["likelihood"], about["epoch"]
    ('vae', 'shapes', (8, 8), 'squared_error', 3)
    """
    is_vae = isinstance(model, VAE)
    return {
        "model": "vae" if is_vae else "conv_ae",
        "dataset": dataset.source,
        "class_names": dataset.class_names,
        "image_shape": dataset.image_shape,
        "image_size": image_size or dataset.image_size,
        "task": task.name if task else None,
        "corruption": task.corruption if task else None,
        "mask_levels": dataset.train.mask_levels,
        "loss": loss,
        "likelihood": _likelihood(model) if is_vae else None,
        "versions": {"keras_ae": keras_ae.__version__, "keras": keras.__version__},
        **more,
    }


def open_model(path: Path | str, *, trust: bool = False) -> "SavedModel":
    """A saved model with what its file says of it, ready to be used on data.

    Args:
        trust: as `load_model` takes it.

    Raises:
        InputError: as `load_model` and `read_metadata`; or the model takes no input named "image".

    >>> import tempfile, keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> vae = keras_ae.conv_vae(shapes.image_shape, latent_dim=2, width=4)
    >>> path = tempfile.mkdtemp() + "/vae.keras"
    >>> path = keras_ae.save_model(vae, path, keras_ae.saving.metadata(vae, shapes))
    >>> saved = keras_ae.open_model(path)
    >>> saved.is_vae, saved.image_shape
    (True, (8, 8, 3))
    >>> len(saved.load_dataset(limit=40).test)
    40
    """
    model = load_model(path, trust=trust)
    if not isinstance(model, VAE) and "image" not in _inputs(model):
        raise InputError(f"{path} holds a model without an input named 'image'; use it with load_model")
    return SavedModel(Path(path), model, read_metadata(path))


@dataclass(frozen=True)
class SavedModel:
    """A loaded model, what its file says of it, and from this its task and its data. `open_model` makes it.

    Attributes:
        model: a `VAE`, or a convolutional autoencoder.
        metadata: as `read_metadata` gives it.
    """

    path: Path
    model: keras.Model
    metadata: dict

    @property
    def is_vae(self) -> bool:
        return isinstance(self.model, VAE)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.model.image_shape if self.is_vae else _inputs(self.model)["image"]

    @property
    def is_conditional(self) -> bool:
        """Whether the model takes labels."""
        return self.model.conditioning != "none" if self.is_vae else "label" in _inputs(self.model)

    @property
    def class_names(self) -> list[str]:
        """Of the labels that the model takes; empty if it takes none, or if the file does not say."""
        if not self.is_conditional:
            return []
        return self.model.class_names if self.is_vae else self._said("class_names") or []

    @property
    def loss(self) -> str | None:
        """The name of the loss it was trained with; `None` for its task's own."""
        return self._said("loss")

    def task(self, corruption: str | None = None) -> Task:
        """The task of an autoencoder, with the corruption it was trained on or another.

        Raises:
            InputError: the file does not say what the model was trained for; or as `get_task`.
        """
        name = self._said("task")
        if name is None:
            raise InputError(
                f"{self.path} does not say what it was trained for; "
                "save it with save_model(model, path, keras_ae.saving.metadata(model, dataset, task=task))"
            )
        return get_task(name, corruption or self._said("corruption"), label=self.is_conditional)

    def load_dataset(
        self,
        name: str | None = None,
        *,
        data_dir: Path | str | None = None,
        cache_dir: Path | str | None = None,
        limit: int | None = None,
    ) -> data.Dataset:
        """The data set the model was trained on, or another of that name, in the model's image size.

        Args:
            name, data_dir, cache_dir, limit: as `data.load` takes them.

        Raises:
            InputError: the file names no data set and none is given; its images, classes or masks do not fit the
                model; or as `data.load`.
        """
        own = self._said("dataset")
        name = name or own
        if name is None:
            raise InputError(f"{self.path} does not say what it was trained on; name a data set with --dataset")
        size = self._said("image_size") if name == own else self.image_shape[:2]
        dataset = data.load(
            name, image_size=tuple(size) if size else None, data_dir=data_dir, cache_dir=cache_dir, limit=limit
        )
        if dataset.image_shape != self.image_shape:
            raise InputError(f"the images of {name} are {dataset.image_shape}; the model takes {self.image_shape}")
        if self.class_names and dataset.class_names != self.class_names:
            raise InputError(
                f"the model knows the classes {', '.join(self.class_names)}; "
                f"{name} has {', '.join(dataset.class_names) or 'none'}"
            )
        return self._with_mask_levels(dataset)

    def split(self, dataset: data.Dataset, name: str) -> data.Split:
        """The split of that name.

        Raises:
            InputError: it has no images.
        """
        if not len(dataset.splits[name]):
            raise InputError(f"{dataset.name} has too few images for a {name} split; its images are in --split test")
        return dataset.splits[name]

    def _with_mask_levels(self, dataset):
        """The classes of a segmentation are the greys that it was trained on."""
        levels = tuple(self._said("mask_levels") or ())
        if self._said("task") != "segment" or not dataset.mask_classes or not levels:
            return dataset
        if unknown := set(dataset.train.mask_levels) - set(levels):
            raise InputError(f"the masks of {dataset.name} have the greys {sorted(unknown)}; the model knows {levels}")
        splits = {name: replace(split, mask_levels=levels) for name, split in dataset.splits.items()}
        return replace(dataset, **splits)

    def _said(self, name: str):
        return self.metadata.get(name)


def _is_list(kind: type, length: int | None = None):
    return lambda value: (
        isinstance(value, list)
        and length in (None, len(value))
        and all(isinstance(part, kind) and not isinstance(part, bool) for part in value)
    )


def _is(kind: type):
    return lambda value: isinstance(value, kind) and not isinstance(value, bool)


# What the file may say, in words and as a test; None, or nothing, where it does not say. Other keys are the user's own.
SCHEMA = {
    "model": (f"one of {', '.join(MODELS)}", lambda value: value in MODELS),
    "dataset": ("a name", _is(str)),
    "class_names": ("a list of names", _is_list(str)),
    "image_shape": ("[height, width, channels]", _is_list(int, 3)),
    "image_size": ("[height, width]", _is_list(int, 2)),
    "task": (f"one of {', '.join(TASKS)}", lambda value: value in tuple(TASKS)),
    "corruption": ("a text", _is(str)),
    "mask_levels": ("a list of whole numbers", _is_list(int)),
    "loss": ("a name", _is(str)),
    "likelihood": ("a name", _is(str)),
    "versions": ("names and values", _is(dict)),
    "flags": ("names and values", _is(dict)),
    "test": ("names and values", _is(dict)),
    "validation": ("names and values", _is(dict)),
    "tuned": ("names and values", _is(dict)),
    "epoch": ("a whole number", _is(int)),
}


def _check_metadata(metadata, path: Path) -> None:
    """Returns if the metadata, as JSON gives it, obeys the schema."""
    if not isinstance(metadata, dict):
        raise InputError(f"the metadata of {path} is not a JSON object; save the model again with save_model")
    for name, (words, obeys) in SCHEMA.items():
        value = metadata.get(name)
        if value is not None and not obeys(value):
            raise InputError(f"the metadata of {path} has {name} {str(value)[:50]!r}; it must be {words}")


def _inputs(model: keras.Model) -> dict[str, tuple]:
    """The shape of each input of a functional model, by name."""
    return {tensor.name: tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or []}


def _likelihood(vae: VAE) -> str:
    """Its name in the list, or the name of its class."""
    kind = type(vae.likelihood)
    return next((name for name, known in LIKELIHOODS.items() if known is kind), kind.__name__)


def _members(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a .keras file written by train/vae.py")
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} is no .keras file, or a truncated one") from error
