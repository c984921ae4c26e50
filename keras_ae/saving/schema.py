"""What a saved file says of itself: the one schema of its metadata."""

from pathlib import Path

import keras

import keras_ae
from keras_ae.data import Dataset
from keras_ae.errors import InputError
from keras_ae.latents import LATENTS
from keras_ae.members import name_of
from keras_ae.models import VAE, ClassifierFit
from keras_ae.models.guarded import shipped
from keras_ae.models.inputs import LONGEST_NAME, MOST_CLASSES
from keras_ae.objectives import LIKELIHOODS, OBJECTIVES, REGULARIZERS
from keras_ae.priors import FITTED, PRIORS
from keras_ae.tasks import TASKS, Task

MODELS = ("vae", "conv_ae", "classifier")


def metadata(
    model: keras.Model,
    dataset: Dataset,
    /,
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
    classifies = isinstance(model, ClassifierFit)
    model = shipped(model)
    is_vae = isinstance(model, VAE)
    return {
        "model": "vae" if is_vae else "classifier" if classifies else "conv_ae",
        "dataset": dataset.source,
        "class_names": dataset.class_names,
        "image_shape": dataset.image_shape,
        "image_size": image_size or dataset.image_size,
        "task": task.name if task else None,
        "corruption": task.corruption if task else None,
        "mask_levels": dataset.train.mask_levels,
        "loss": loss,
        **(_members(model) if is_vae else {}),
        "binarized": dataset.is_binarized or None,
        "dequantized": dataset.is_dequantized or None,
        "versions": {"keras_ae": keras_ae.__version__, "keras": keras.__version__},
        **more,
    }


def check_metadata(metadata, path: Path) -> None:
    """Returns if the metadata, as JSON gives it, obeys the schema."""
    if not isinstance(metadata, dict):
        raise InputError(f"the metadata of {path} is not a JSON object; save the model again with save_model")
    for name, (words, obeys) in SCHEMA.items():
        value = metadata.get(name)
        if value is not None and not obeys(value):
            raise InputError(f"the metadata of {path} has {name} '{str(value)[:50]}'; it must be {words}")


def _members(vae: VAE) -> dict[str, str | list[str]]:
    """The parts of a VAE, by their names in the lists, or those of their classes."""
    regularizers = getattr(vae.objective, "regularizers", [])
    return {
        "latent": name_of(vae.latent, LATENTS),
        "prior": name_of(vae.prior, PRIORS | FITTED),
        "objective": name_of(vae.objective, OBJECTIVES),
        "regularizers": [name_of(regularizer, REGULARIZERS) for regularizer in regularizers],
        "likelihood": name_of(vae.likelihood, LIKELIHOODS),
    }


def _is_text(longest: int):
    return lambda value: isinstance(value, str) and 0 < len(value) <= longest


def _is_number(low: int, high: int):
    return lambda value: type(value) is int and low <= value <= high


def _is_list(of, most: int, least: int = 0):
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(of, value))


def _is_object(value) -> bool:
    return isinstance(value, dict)


NAME, SIDE = _is_text(LONGEST_NAME), _is_number(1, 2**16)
# What the file may say, in words and as a test; None, or nothing, where it does not say. Other keys are the user's own.
SCHEMA = {
    "model": (f"one of {', '.join(MODELS)}", lambda value: value in MODELS),
    "dataset": ("a name", _is_text(4096)),
    "class_names": ("a list of names", _is_list(NAME, MOST_CLASSES)),
    "image_shape": ("[height, width, channels]", _is_list(SIDE, 3, 3)),
    "image_size": ("[height, width]", _is_list(SIDE, 2, 2)),
    "task": (f"one of {', '.join(TASKS)}", lambda value: value in tuple(TASKS)),
    "corruption": ("a text", _is_text(1000)),
    "mask_levels": ("a list of greys, 0 to 255", _is_list(_is_number(0, 255), 256)),
    "loss": ("a name", NAME),
    "likelihood": ("a name", NAME),
    "latent": ("a name", NAME),
    "prior": ("a name", NAME),
    "objective": ("a name", NAME),
    "regularizers": ("a list of names", _is_list(NAME, 100)),
    "binarized": ("true or false", lambda value: isinstance(value, bool)),
    "dequantized": ("true or false", lambda value: isinstance(value, bool)),
    "versions": ("names and values", _is_object),
    "flags": ("names and values", _is_object),
    "test": ("names and values", _is_object),
    "validation": ("names and values", _is_object),
    "tuned": ("names and values", _is_object),
    "epoch": ("a whole number", _is_number(0, 10**9)),
}
