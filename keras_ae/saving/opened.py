"""A saved model, its task and the data that it fits."""

from dataclasses import dataclass, replace
from pathlib import Path

import keras

from keras_ae import data
from keras_ae.errors import InputError
from keras_ae.models import VAE
from keras_ae.saving.files import read_model
from keras_ae.tasks import Task, get_task
from keras_ae.trust import MEMORY


def open_model(path: Path | str, *, trust: bool = False, memory: int = MEMORY) -> "SavedModel":
    """A saved model with what its file says of it, ready to be used on data.

    Args:
        trust, memory: as `load_model` takes them.

    Raises:
        InputError: as `load_model`; or the metadata contradict the schema or the model, or the model takes no input
            named "image".

    >>> import tempfile, keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> vae = keras_ae.conv_vae(shapes.image_shape, latent_dim=2, width=4)
    >>> path = tempfile.mkdtemp() + "/vae.keras"
    >>> path = keras_ae.save_model(vae, path, keras_ae.saving.metadata(vae, shapes))
    >>> saved = keras_ae.open_model(path)
    >>> saved.is_vae, saved.image_shape
    (True, (8, 8, 3))
    >>> len(saved.load_dataset("shapes", limit=40).test)
    40
    """
    path = Path(path)
    model, metadata = read_model(path, trust=trust, memory=memory)
    if metadata.get("model") == "classifier":
        raise InputError(f"{path} holds a classifier, whose features train/vae.py --features takes")
    if not isinstance(model, VAE) and "image" not in _inputs(model):
        raise InputError(f"{path} holds a model without an input named 'image'; use it with load_model")
    saved = SavedModel(path, model, metadata)
    said = metadata.get("image_shape")
    if said and tuple(said) != saved.image_shape:
        raise InputError(f"{path} is damaged: it says images of {said}, and its model takes {saved.image_shape}")
    return saved


@dataclass(frozen=True)
class SavedModel:
    """A loaded model, what its file says of it, and from this its task and its data. `open_model` makes it.

    Attributes:
        model: a `VAE`, or a convolutional autoencoder.
        metadata: as `read_metadata` gives it.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> SavedModel(Path("vae.keras"), vae, {}).image_shape
    (8, 8, 1)
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
        """The task of an autoencoder, with the corruption it was trained on or another. A VAE can complete.

        Raises:
            InputError: the file does not say what the model was trained for; or as `get_task`.
        """
        name = "complete" if self.is_vae else self._said("task")
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
        """The data set of that name, in the model's image size.

        Args:
            name: as `data.load` takes it. A model of `shapes`, which reads and fetches nothing, needs none: what else
                a file names is not opened, since the file may come from a stranger.
            data_dir, cache_dir, limit: as `data.load` takes them.

        Raises:
            InputError: no name is given; images, classes or masks do not fit the model; or as `data.load`.
        """
        own = self._said("dataset")
        if name is None and own != "shapes":
            trained = f"was trained on {own}" if own else "does not say what it was trained on"
            raise InputError(f"{self.path} {trained}; name the data set to use with --dataset")
        name = name or own
        # In the images' own size where the model was trained so: the cache has them then.
        size = None if name == own and not self._said("image_size") else self.image_shape[:2]
        dataset = data.load(name, image_size=size, data_dir=data_dir, cache_dir=cache_dir, limit=limit)
        if dataset.image_shape != self.image_shape:
            raise InputError(f"the images of {name} are {dataset.image_shape}; the model takes {self.image_shape}")
        if self.class_names and dataset.class_names != self.class_names:
            raise InputError(
                f"the model knows the classes {', '.join(self.class_names)}; "
                f"{name} has {', '.join(dataset.class_names) or 'none'}"
            )
        if self._said("binarized"):
            dataset = dataset.binarized()
        if self._said("dequantized"):
            dataset = dataset.dequantized()
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


def _inputs(model: keras.Model) -> dict[str, tuple]:
    """The shape of each input of a functional model, by name."""
    return {tensor.name: tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or []}
