"""The models of a search: what a trial tunes are arguments by name, and the others have the scripts' defaults."""

from keras_ae import data
from keras_ae.models import VAE, conv_autoencoder, conv_vae
from keras_ae.optimizers import recipe
from keras_ae.tasks import get_task
from keras_ae.training import prepare


def build_vae(
    dataset: data.Dataset,
    *,
    epochs: int,
    latent_dim: int = 16,
    width: int = 32,
    beta: float = 1.0,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    likelihood: str = "squared_error",
    conditioning: str = "none",
    precision: str = "float32",
    seed: int = 0,
) -> VAE:
    """A compiled `conv_vae` for the images of the data set, whose learning rate decays over the epochs.

    >>> from functools import partial
    >>> from keras_ae import data, tuning
    >>> shapes = data.load("shapes", image_size=(8, 8), limit=40)
    >>> build = partial(tuning.build_vae, shapes, width=4)  # a `Search` adds epochs and what it tunes
    >>> build(epochs=2, latent_dim=3).latent_dim
    3
    """
    prepare(precision, seed)
    vae = conv_vae(
        dataset.image_shape,
        latent_dim,
        class_names=dataset.class_names,
        conditioning=conditioning if dataset.class_names else "none",
        likelihood=likelihood,
        width=width,
        beta=beta,
        seed=seed,
    )
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
