"""What a VAE shows of itself."""

import math
from dataclasses import replace

import numpy as np

from keras_ae.errors import InputError
from keras_ae.models import VAE, HierarchicalVAE
from keras_ae.models.inputs import checked_labels
from keras_ae.pictures.grids import COLUMNS, SHOWN, Pictures, Rows, comparison, filled, in_rows


def samples(
    vae: VAE,
    count: int = 64,
    labels=None,
    *,
    seed: int = 0,
    same_latents: bool = False,
    **kwargs,
) -> Rows:
    """Samples of a VAE: a row for each class of a conditional one, else a block.

    Args:
        count: of images in all, rounded up to full rows.
        labels: class names or ids, a row each; all classes where `None`.
        same_latents: the rows share their latents, so that a column shows one in every class.
        seed, kwargs: as `VAE.sample` takes them.

    Raises:
        InputError: labels are unknown, or given for a model that is not conditional.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, class_names=["cat", "dog"], conditioning="decoder", width=4)
    >>> rows = keras_ae.pictures.samples(vae, 6)
    >>> rows.names, rows.images.shape
    (['cat', 'dog'], (2, 3, 8, 8, 3))
    """
    if not vae.samples_classes:
        if labels is not None:
            raise InputError("this model is not conditional: leave out the labels")
        return Rows(in_rows(vae.sample(count, seed=seed, **kwargs)))
    labels = vae.class_names if labels is None else labels
    ids = checked_labels(labels, len(labels), vae.class_names)
    columns = math.ceil(count / len(ids))
    if same_latents:
        images = np.stack([vae.sample(columns, label, seed=seed, **kwargs) for label in ids])
    else:
        images = vae.sample(columns * len(ids), np.repeat(ids, columns), seed=seed, **kwargs)
    return Rows(images.reshape(len(ids), columns, *vae.image_shape), [vae.class_names[label] for label in ids])


def reconstructions(vae: VAE, images: np.ndarray, labels=None) -> Rows:
    """Images, and what a VAE makes of them: a row of pairs for each class of a conditional one, else bands.

    Args:
        labels: ids (n,), for a conditional model; the classes' rows have the order in which they come.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> keras_ae.pictures.reconstructions(vae, np.ones((5, 8, 8, 3))).names
    ['original', 'decoded']
    """
    decoded = vae.reconstruct(images, labels)
    if labels is None:
        return comparison({"original": images, "decoded": decoded})
    pairs = np.stack([images, decoded], axis=1)
    ids = list(dict.fromkeys(np.asarray(labels).tolist()))
    parts = [pairs[labels == label].reshape(-1, *vae.image_shape) for label in ids]
    columns = max(map(len, parts))
    rows = np.stack([filled(part, columns) for part in parts])
    return Rows(rows, [vae.class_names[label] for label in ids], "original and decoded, in pairs")


def interpolations(vae: VAE, images: np.ndarray, labels=None, *, steps: int = COLUMNS) -> Rows:
    """A row for each pair of images, one of the first half and one of the second: what lies between their codes.

    Args:
        images: (n, height, width, channels), 2 or more; of an odd number the last is left out.
        labels: ids (n,), for a conditional model; a row has the label of its first image.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> keras_ae.pictures.interpolations(vae, np.ones((4, 8, 8, 3))).images.shape
    (2, 8, 8, 8, 3)
    """
    pairs = len(images) // 2
    if not pairs:
        raise InputError("interpolations need two images or more")
    labels = None if labels is None else labels[:pairs]
    return Rows(vae.interpolate(images[:pairs], images[pairs : 2 * pairs], steps, labels))


def traversals(vae: VAE, images: np.ndarray, labels=None, **kwargs) -> Rows:
    """A row for each of the latents that matter most: the first image with that latent moved, as `VAE.traverse`.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> sorted(keras_ae.pictures.traversals(vae, np.ones((4, 8, 8, 3))).names)
    ['z0', 'z1']
    """
    latents, rows = vae.traverse(images, labels=labels, **kwargs)
    return Rows(rows, [f"z{latent}" for latent in latents])


def variations(vae: HierarchicalVAE, images: np.ndarray, labels=None, *, level: int = 1, **kwargs) -> Rows:
    """A row for each image: itself, and images that share the upper levels of its code.

    Args:
        level: the last that they share, 1 the top.
        kwargs: as `HierarchicalVAE.variations` takes them.

    >>> import keras_ae
    >>> vae = keras_ae.build_hierarchical_vae((8, 8, 3), [(2, 2, 3), (4, 4, 2)], width=4)
    >>> keras_ae.pictures.variations(vae, np.ones((2, 8, 8, 3))).images.shape
    (2, 8, 8, 8, 3)
    """
    varied = vae.variations(images, COLUMNS - 1, level=level, labels=labels, **kwargs)
    names = None if labels is None else [vae.class_names[label] for label in labels]
    return Rows(np.concatenate([images[:, None], varied], axis=1), names, "original, variations")


def completions(vae: VAE, images: np.ndarray, mask: np.ndarray, labels=None, *, count: int = 4, seed: int = 0) -> Rows:
    """A row for each image: itself, what is known of it, and several completions by a VAE.

    Args:
        mask: 1 where a pixel is known, (n, height, width, 1).
        labels: ids (n,), for a conditional model.
        count: of completions.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> known = np.ones((1, 8, 8, 1))
    >>> known[:, :4] = 0
    >>> keras_ae.pictures.completions(vae, np.ones((1, 8, 8, 3)), known, count=2).images.shape
    (1, 4, 8, 8, 3)
    """
    completed = vae.complete(images, mask, count, labels=labels, noise=False, seed=seed)
    known = np.where(mask > 0, images, np.nan)
    rows = np.concatenate([images[:, None], known[:, None], completed], axis=1)
    names = None if labels is None else [vae.class_names[label] for label in labels]
    return Rows(rows, names, "original, masked, completions")


def prior_pictures(seed: int = 0) -> Pictures:
    """For `ImageGrids`: samples while a prior is fitted, with one noise for all epochs.

    >>> import keras_ae
    >>> model = keras_ae.conv_autoencoder((8, 8, 1), 2, 3, width=4)
    >>> prior = keras_ae.priors.FlowMatching(width=8, blocks=1)
    >>> prior.build((None, 2, 2, 3))
    >>> list(keras_ae.pictures.prior_pictures()(keras_ae.with_prior(model, prior), "epoch 1"))
    ['samples']
    """

    def pictures(vae, title):
        classes = vae.class_names[:SHOWN] if vae.samples_classes else None
        drawn = samples(vae, COLUMNS * len(classes or range(COLUMNS)), classes, seed=seed)
        return {"samples": replace(drawn, title=title).picture()}

    return pictures


def vae_pictures(batch: dict[str, np.ndarray], seed: int = 0) -> Pictures:
    """For `ImageGrids`: the `reconstructions` and `samples` of a VAE; the former alone where samples would be noise.
    Inputs and latents are fixed, so that epochs compare.

    A conditional model's samples have one row per class (the first 16) and the same latents in each.

    Args:
        batch: the images (and labels) to reconstruct, as `Split.batch` gives them.
        seed: of the latents.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 3), latent_dim=2, width=4)
    >>> draw = keras_ae.pictures.vae_pictures({"image": np.ones((4, 8, 8, 3)), "label": np.zeros(4)})
    >>> list(draw(vae, "epoch 1"))
    ['reconstructions', 'samples']
    """
    originals, labels = batch["image"][:SHOWN], batch["label"][:SHOWN]

    def pictures(vae, title):
        is_conditional = vae.conditioning != "none"
        decoded = vae.reconstruct(originals, labels if is_conditional else None)
        compared = {"reconstructions": comparison({"original": originals, "decoded": decoded}, title).picture()}
        if not vae.fills_prior:
            return compared
        classes = vae.class_names[:SHOWN] if vae.samples_classes else None
        count = COLUMNS * len(classes or range(COLUMNS))
        drawn = samples(vae, count, classes, seed=seed, same_latents=True)
        return compared | {"samples": replace(drawn, title=title).picture()}

    return pictures
