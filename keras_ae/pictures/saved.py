"""What a saved model shows of itself, by the name of the kind of picture."""

from keras_ae.data import Dataset
from keras_ae.errors import InputError
from keras_ae.models import HierarchicalVAE
from keras_ae.pictures.grids import Rows
from keras_ae.pictures.vae import completions, interpolations, reconstructions, samples, traversals, variations
from keras_ae.saving import SavedModel

OF_LEVELS = ("traversals", "variations")
FROM_IMAGES = {"reconstructions": reconstructions, "interpolations": interpolations, "traversals": traversals}


def of_vae(
    saved: SavedModel,
    kind: str,
    count: int,
    dataset: Dataset | None = None,
    *,
    split: str = "test",
    labels: list[str] | None = None,
    corruption: str | None = None,
    seed: int = 0,
    level: int | None = None,
    **kwargs,
) -> Rows:
    """One kind of picture of a saved VAE.

    Args:
        kind: "samples", "reconstructions", "interpolations", "traversals", "variations" or "completions".
        count: of samples, or of images to start from.
        dataset, split: the images to start from, which all but samples do.
        labels: classes of samples or reconstructions, by name or by number as text; all where `None`.
        corruption: what hides pixels of images that are completed.
        seed: of samples, variations and completions.
        level: of a hierarchy, as `traversals` and `variations` take it.
        kwargs: of samples, as `VAE.sample` takes them; variations take the temperature, too.

    Raises:
        InputError: labels for a model that takes none, or unknown ones; a split without images.

    >>> import tempfile, keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> path = keras_ae.save_model(vae, tempfile.mkdtemp() + "/vae.keras")
    >>> keras_ae.pictures.of_vae(keras_ae.open_model(path), "samples", 4).images.shape
    (1, 4, 8, 8, 3)
    """
    vae = saved.model
    if labels is not None and not (vae.samples_classes if kind == "samples" else saved.is_conditional):
        raise InputError("this model is not conditional: leave out the labels")
    if (level or kind == "variations") and not isinstance(vae, HierarchicalVAE):
        raise InputError("this model has one level of latents; levels and variations are of a hierarchy")
    if level and kind not in OF_LEVELS:
        raise InputError(f"{kind} are of all levels; leave out the level")
    names = [_label(text, vae.class_names) for text in labels or vae.class_names]
    if kind == "samples":
        classes = names if vae.samples_classes else None
        return samples(vae, count, classes, seed=seed, **kwargs)
    images = saved.split(dataset, split)
    if kind == "completions":
        task = saved.task(corruption)
        task.check(dataset)
        inputs, target, _ = task.take(images, slice(0, count))
        return completions(vae, target, inputs["mask"], inputs.get("label"), seed=seed)
    places = slice(0, count)
    if kind == "reconstructions" and saved.is_conditional:
        places = images.first_of_each(vae.label_ids(names, len(names)), -(-count // len(names)))
    batch = images.batch(places)
    inputs = vae, batch["image"], batch["label"] if saved.is_conditional else None
    if kind == "variations":
        return variations(*inputs, level=level or 1, seed=seed, temperature=kwargs.get("temperature", 1.0))
    return FROM_IMAGES[kind](*inputs, **({"level": level} if level else {}))


def _label(text: str, class_names: list[str]) -> str | int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 10
    return int(text) if is_number and text not in class_names else text
