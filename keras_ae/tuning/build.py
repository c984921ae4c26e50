"""The models of a search: what a trial tunes are arguments by name, and the others have the scripts' defaults."""

from collections.abc import Callable
from functools import partial

import keras_tuner

from keras_ae import data, models
from keras_ae.errors import InputError, one_of
from keras_ae.models import VAE, conv_autoencoder
from keras_ae.optimizers import recipe
from keras_ae.tasks import Task, get_task
from keras_ae.training import prepare
from keras_ae.tuning.search import ELBO, MSE

TUNED = {
    "latent_dim": int,
    "code_size": int,
    "width": int,
    "learning_rate": float,
    "beta": float,
    "network": str,
    "latent": str,
    "prior": str,
    "objective": str,
    "regularizer": str,
}
SPACES = {"vae": {"latent_dim": [8, 16, 32, 40, 64, 128]}, "conv_ae": {"code_size": [1, 2, 3, 4]}}
LACKS = {"vae": {"code_size"}, "conv_ae": set(TUNED) - {"code_size", "width", "learning_rate"}}


def build_vae(
    dataset: data.Dataset,
    *,
    epochs: int,
    latent_dim: int = 16,
    network: str = "conv",
    latent: str = "gaussian",
    prior: str | None = None,
    objective: str | None = None,
    regularizer: str = "none",
    width: int | None = None,
    beta: float = 1.0,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    likelihood: str = "squared_error",
    conditioning: str = "none",
    precision: str = "float32",
    seed: int = 0,
) -> VAE:
    """A compiled `models.build_vae` for the images of the data set, whose learning rate decays over the epochs.

    >>> from functools import partial
    >>> from keras_ae import data, tuning
    >>> shapes = data.load("shapes", image_size=(8, 8), limit=40)
    >>> build = partial(tuning.build_vae, shapes, width=4)  # a `Search` adds epochs and what it tunes
    >>> build(epochs=2, latent_dim=3).latent_dim
    3
    """
    prepare(precision, seed)
    vae = models.build_vae(
        dataset.image_shape,
        latent_dim,
        network=network,
        latent=latent,
        prior=prior,
        objective=objective,
        regularizers=[regularizer],
        class_names=dataset.class_names,
        conditioning=conditioning if dataset.class_names else "none",
        likelihood=likelihood,
        width=width,
        beta=beta,
        seed=seed,
    )
    vae.adapt(dataset.train)
    steps = data.steps_per_epoch(dataset.train, batch_size)
    vae.compile(recipe(steps, epochs, learning_rate))
    return vae


def build_autoencoder(
    dataset: data.Dataset,
    *,
    epochs: int,
    code_size: int = 2,
    code_channels: int = 128,
    width: int = 32,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    conditioning: str = "none",
    precision: str = "float32",
    seed: int = 0,
):
    """A compiled `conv_autoencoder` that reconstructs the images of the data set. Otherwise as `build_vae`.

    >>> from keras_ae import data, tuning
    >>> shapes = data.load("shapes", image_size=(8, 8), limit=40)
    >>> tuning.build_autoencoder(shapes, epochs=2, code_size=4, code_channels=3, width=4).output_shape
    (None, 8, 8, 3)
    """
    prepare(precision, seed)
    model = conv_autoencoder(
        dataset.image_shape,
        code_size,
        code_channels,
        num_classes=len(dataset.class_names),
        conditioning=conditioning,
        width=width,
    )
    steps = data.steps_per_epoch(dataset.train, batch_size)
    task = get_task("reconstruct", label=conditioning != "none")
    model.compile(recipe(steps, epochs, learning_rate), **task.measures(model))
    return model


def builder(
    model: str, *, conditioning: str = "none", likelihood: str = "squared_error", code_channels: int = 128, **settings
) -> tuple[Callable, keras_tuner.Objective, Task | None]:
    """How the trials of a kind of model are built, what compares them, and the task of their batches.

    Args:
        model: "vae" or "conv_ae".
        likelihood: of a VAE.
        code_channels: of an autoencoder.
        settings: more arguments of `build_vae` and `build_autoencoder`.

    >>> build, objective, task = builder("conv_ae", width=4)
    >>> objective.name, task.name
    ('val_mse', 'reconstruct')
    """
    one_of(model, SPACES, "model")
    settings = {name: value for name, value in settings.items() if value is not None}
    settings["conditioning"] = conditioning
    if model == "vae":
        return partial(build_vae, likelihood=likelihood, **settings), ELBO, None
    task = get_task("reconstruct", label=conditioning != "none")
    return partial(build_autoencoder, code_channels=code_channels, **settings), MSE, task


def parse_space(model: str, texts: dict[str, str | None]) -> dict[str, list | tuple]:
    """The space of a search, from what is tuned to choices as text. Without any text, the usual sizes of the code.

    Raises:
        InputError: the model does not have what is to be tuned, or a text is neither choices nor a range.

    >>> parse_space("vae", {"latent_dim": "8,16", "beta": None})
    {'latent_dim': [8, 16]}
    """
    texts = {name: text for name, text in texts.items() if text}
    for name in texts:
        if name in LACKS[model]:
            raise InputError(f"a {model} has no {name}s; leave it out")
    return {name: parse_choices(text, TUNED[name]) for name, text in texts.items()} or SPACES[model]


def parse_choices(text: str, kind: type) -> list | tuple:
    """Of "8,16,32" the list of numbers, of "8:256" the pair; of names, as "standard,flow:6", the list.

    Raises:
        InputError: the text is neither.

    >>> parse_choices("8,16,32", int), parse_choices("1e-3:1e-2", float)
    ([8, 16, 32], (0.001, 0.01))
    """
    if kind is str:
        return text.split(",")
    try:
        numbers = [kind(number) for number in text.replace(":", ",").split(",")]
    except ValueError:
        numbers = []
    if not numbers or (":" in text and (len(numbers) != 2 or not 0 < numbers[0] < numbers[1])):
        raise InputError(f"'{text}' is neither choices, as 8,16,32, nor a range above 0, as 8:256")
    return tuple(numbers) if ":" in text else numbers
