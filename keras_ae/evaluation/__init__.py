"""What a trained model is worth on images that it has not seen."""

from collections.abc import Callable
from dataclasses import replace

import keras

from keras_ae.data import Dataset, Split
from keras_ae.errors import InputError, printable
from keras_ae.evaluation.likelihood import evaluate_vae
from keras_ae.evaluation.restoration import evaluate_completions, evaluate_task
from keras_ae.models import VAE
from keras_ae.tasks import Task

__all__ = ["as_table", "evaluate", "per_class"]


def evaluate(
    model: keras.Model,
    images: Dataset | Split,
    *,
    task: Task | None = None,
    loss: str | None = None,
    draws: int | None = None,
    **kwargs,
) -> dict[str, float]:
    """Measures a model on a split, or on the test split of a data set. The model stays as it is.

    A VAE: `loss`, `reconstruction`, `kl` and `elbo` in nats per image, `mse`, `psnr`, `active_units`, and
    `bits_per_dimension` where its likelihood is a density (see `bits_per_dimension` for what it does not compare with).
    A VAE with a task that completes: PSNR in dB over the missing pixels, of single completions (`psnr_single`) and of
    the mean of four (`psnr_mean_of_4`). It takes about a second an image.
    An autoencoder: its task's loss and metrics, and for "denoise" also the PSNR of the noisy images (`noisy_psnr`).

    Args:
        task: what an autoencoder was trained for, or what a VAE is to complete, as `get_task` gives it.
        loss: the name of the autoencoder's loss; `None` for the task's own.
        draws: of a VAE, for each image: adds `log_likelihood`, its mean over the images, with its `standard_error`.
            Papers use 5,000.
        kwargs: `seed`, `kept` and `verbose` go to `evaluation.likelihood.log_likelihoods`.

    Raises:
        InputError: there are no images; an autoencoder has no task; a VAE has one that does not complete; the images
            do not fit the task.

    >>> import keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> vae = keras_ae.conv_vae(shapes.image_shape, latent_dim=2, width=4)
    >>> sorted(keras_ae.evaluate(vae, shapes))[:4]
    ['active_units', 'bits_per_dimension', 'elbo', 'kl']
    >>> model = keras_ae.conv_autoencoder(shapes.image_shape, 2, 4, width=4)
    >>> sorted(keras_ae.evaluate(model, shapes.validation, task=keras_ae.get_task("denoise")))
    ['loss', 'mse', 'noisy_psnr', 'psnr', 'ssim']
    """
    dataset = images if isinstance(images, Dataset) else Dataset("of these images", [], images, images, images)
    split = dataset.test
    if not len(split):
        raise InputError("there are no images to measure on; give a split that has some")
    if task is not None:
        task.check(dataset)
    if draws is not None and (task is not None or not isinstance(model, VAE)):
        raise InputError("only a VAE without a task has a log-likelihood; leave out the draws")
    if not isinstance(model, VAE):
        if task is None:
            raise InputError("an autoencoder is measured by its task; give task=get_task('reconstruct') or another")
        return evaluate_task(model, split, task, loss)
    if task is None:
        return evaluate_vae(model, split, draws, **kwargs)
    if not task.hides:
        raise InputError(f"a VAE is measured by its ELBO or completes images; the task '{task.name}' is neither")
    return evaluate_completions(model, split, task)


def per_class(measure: Callable[[Split], dict], dataset: Dataset, split: Split) -> dict[str, dict]:
    """`measure(part)` of each class that has images in the split, and how many these are (`images`).

    Args:
        measure: of a split, such as `lambda part: evaluate(model, part)`.

    Raises:
        InputError: the data set has no classes.

    >>> import keras_ae
    >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
    >>> classes = per_class(lambda part: {"first": int(part.indices[0])}, shapes, shapes.test)
    >>> list(classes) == shapes.class_names, classes["circle"].keys()
    (True, dict_keys(['images', 'first']))
    """
    if not dataset.class_names:
        raise InputError(f"{dataset.name} has no classes; leave out --per-class")
    labels = split.arrays["labels"][split.indices]
    results = {}
    for number, name in enumerate(dataset.class_names):
        part = replace(split, indices=split.indices[labels == number])
        if len(part):
            results[name] = {"images": len(part), **measure(part)}
    return results


def as_table(title: str, results: dict) -> str:
    """Names and values in two columns, below a title.

    >>> print(as_table("test images", {"mse": 0.0123456, "images": 40}))
    test images
      mse     0.012346
      images  40
    """
    width = max(map(len, results))
    values = {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in results.items()}
    return "\n".join([printable(title), *(f"  {name:<{width}}  {value}" for name, value in values.items())])
