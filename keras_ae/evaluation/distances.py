"""How near a set of images is to another: distances between the features of two sets, and what each covers."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from keras_ae.data import Split
from keras_ae.errors import InputError
from keras_ae.evaluation.feature_networks import FeatureNetwork
from keras_ae.files import atomic
from keras_ae.models import VAE

AT_ONCE = 250  # images
NEIGHBOURS = 5
BLOCK = 1000  # features of one estimate of the kernel distance
ROWS = 1000  # features whose distances to all others are held at once


def of_samples(
    vae: VAE, split: Split, count: int, network: FeatureNetwork, *, seed: int = 0, **kwargs
) -> dict[str, float]:
    """How near samples are to images of a split: see `of_images`. Classes take turns.

    Args:
        seed: also of the samples.
        kwargs: as `VAE.sample` takes them.
    """
    return of_images(sampled(vae, count, seed, **kwargs), split, count, network, seed=seed)


def of_reconstructions(vae: VAE, split: Split, count: int, network: FeatureNetwork, *, seed: int = 0) -> dict:
    """How near reconstructions of images of a split are to other ones: see `of_images`. The images themselves are the
    floor."""
    _, others = _halves(split, count, seed)
    batches = (others.batch(places) for places in _places(count))
    labelled = vae.conditioning != "none"
    made = (vae.reconstruct(batch["image"], batch["label"] if labelled else None) for batch in batches)
    return of_images(made, split, count, network, seed=seed)


def of_images(
    batches: Iterable[np.ndarray], split: Split, count: int, network: FeatureNetwork, *, seed: int = 0
) -> dict[str, float]:
    """How near images are to those of a split, as `compare` says it.

    Args:
        batches: (m, height, width, channels) in [0, 1], `count` images in all.
        split: of real images, twice as many: one half measures the images, the other one the floor.
        network: whose features are compared.
        seed: of which real images these are.

    Raises:
        InputError: the split has too few images; or as `compare`.
    """
    real, others = of_halves(split, count, network, seed=seed)
    return compare(network(batches), real, others)


def of_halves(split: Split, count: int, network: FeatureNetwork, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The features of the real images that `of_images` compares with, and of those that are the floor: to compare
    several sets with the same images. They are kept in the network's `cache_dir`. Arguments and errors are those of
    `of_images`."""
    _check_count(count, network.features)
    real, others = _halves(split, count, seed)
    return _kept(network, real), _kept(network, others)


def _kept(network: FeatureNetwork, split: Split) -> np.ndarray:
    """The features of a split's images: they take minutes, and are the same each time."""
    if network.cache_dir is None:
        return network(_images(split))
    digest = hashlib.sha256(f"{network.size} {network.network.output_shape}".encode())  # which weights do not tell
    for array in [*network.network.get_weights(), *_images(split)]:
        digest.update(np.ascontiguousarray(array).data)
    path = network.cache_dir / f"features-{digest.hexdigest()[:16]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            np.save(temporary, network(_images(split)))
    return np.load(path)


def sampled(vae: VAE, count: int, seed: int = 0, **kwargs) -> Iterator[np.ndarray]:
    """Samples, some at a time, so that any number fits in memory. Classes take turns.

    Args:
        kwargs: as `VAE.sample` takes them.
    """
    for places in _places(count):
        labels = np.arange(places.start, places.stop) % len(vae.class_names) if vae.samples_classes else None
        yield vae.sample(places.stop - places.start, labels, seed=[seed, places.start], **kwargs)


def _halves(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Two times `count` images, none twice."""
    if len(split) < 2 * count:
        raise InputError(f"{count} images and as many others need {2 * count}, and there are {len(split)}; take fewer")
    order = np.random.default_rng(seed).permutation(split.indices)
    return replace(split, indices=order[:count]), replace(split, indices=order[count : 2 * count])


def _places(count: int) -> Iterator[slice]:
    return (slice(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE))


def _images(split: Split) -> Iterator[np.ndarray]:
    return (split.batch(places)["image"] for places in _places(len(split)))


def compare(features: np.ndarray, real: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """All measures of a set against real images, and the same of other real images: the floor, which no sampler beats.

    Args:
        features, real, others: (n, d) of as many images each.

    Raises:
        InputError: there are fewer images than features, or not as many of each.

    >>> normal = np.random.default_rng(0).normal(size=(3, 50, 4))
    >>> sorted(compare(*normal))[:4]
    ['coverage', 'coverage_floor', 'density', 'density_floor']
    """
    if not len(features) == len(real) == len(others):
        raise InputError(
            f"sets of {len(features)}, {len(real)} and {len(others)} images do not compare; give equal ones"
        )
    _check_count(len(real), real.shape[1])
    measured, floor = (_measured(some, real) for some in (features, others))
    return measured | {f"{name}_floor": value for name, value in floor.items() if name != "kernel_distance_error"}


def _check_count(images: int, features: int) -> None:
    if images <= features:
        raise InputError(f"{images} images are too few for {features} features; give more images")


def _measured(features: np.ndarray, real: np.ndarray) -> dict[str, float]:
    distance, error = kernel_distance(features, real)
    errors = {} if error is None else {"kernel_distance_error": error}
    frechet = frechet_distance(features, real)
    return {"frechet_distance": frechet, "kernel_distance": distance, **errors, **coverage(features, real)}


def frechet_distance(features: np.ndarray, real: np.ndarray) -> float:
    """The distance between Gaussians of the sets' means and covariances (Heusel et al. 2017, "GANs trained by a two
    time-scale update rule", section 2): |m - m'|^2 + tr(C + C' - 2 (C C')^1/2). It grows as sets become smaller.

    Args:
        features, real: (n, d).

    >>> x = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(x + [1, 0, 0], x), 6)
    1.0
    """
    (mean, covariance), (other_mean, other_covariance) = map(_moments, (features, real))
    # The eigenvalues of C C' are those of L' C L, where C' = L L': symmetric, and none below 0.
    values, vectors = np.linalg.eigh(other_covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    product = np.linalg.eigvalsh(root.T @ covariance @ root)
    traces = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(np.maximum(product, 0)).sum()
    return float(np.square(mean - other_mean).sum() + traces)


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = features.astype("float64")
    return features.mean(0), np.cov(features, rowvar=False)


def kernel_distance(features: np.ndarray, real: np.ndarray) -> tuple[float, float | None]:
    """The squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, "Demystifying MMD
    GANs", section 4), without bias, so that it may be below 0: its mean over blocks of 1,000 images, and the standard
    error of that mean, where there is more than one.

    Args:
        features, real: (n, d), of as many images.

    >>> x = np.random.default_rng(0).normal(size=(2, 2000, 3))
    >>> distance, error = kernel_distance(*x)
    >>> abs(distance) < 4 * error + 0.01
    True
    """
    count = max(1, len(features) // BLOCK)
    blocks = zip(np.array_split(features, count), np.array_split(real, count), strict=True)
    estimates = [_unbiased(x.astype("float64"), y.astype("float64")) for x, y in blocks]
    error = float(np.std(estimates, ddof=1)) / math.sqrt(count) if count > 1 else None
    return float(np.mean(estimates)), error


def _unbiased(x: np.ndarray, y: np.ndarray) -> float:
    within = sum(
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)) for kernel in map(_kernel, (x, y))
    )
    return within - 2 * _kernel(x, y).mean()


def _kernel(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    return (x @ (x if y is None else y).T / x.shape[1] + 1) ** 3


def coverage(features: np.ndarray, real: np.ndarray, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Shares of a set that real images surround, and the other way round. A ball around an image has its
    `neighbours`-th neighbour of the same set on its edge.

    `precision`: of the set in a ball of a real image; `recall`: of the real images in a ball of the set (Kynkaanniemi
    et al. 2019, "Improved precision and recall", equations 1 and 2). `density`: how many balls of real images one of
    the set lies in, over `neighbours`; `coverage`: of the real images with one of the set in their ball (Naeem et al.
    2020, "Reliable fidelity and diversity metrics", equations 4 and 5).

    Args:
        features, real: (n, d).

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> coverage(x, x)["coverage"], coverage(x + 100, x)["precision"]
    (1.0, 0.0)
    """
    features, real = features.astype("float64"), real.astype("float64")  # float32 has too few digits for differences
    radii, real_radii = (_radii(some, neighbours) for some in (features, real))
    balls, covered, recalled = np.zeros(len(features)), np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start in range(0, len(features), ROWS):
        part = slice(start, start + ROWS)
        distances = _squared_distances(features[part], real)
        inside = distances <= real_radii
        balls[part] = inside.sum(1)
        covered |= inside.any(0)
        recalled |= (distances <= radii[part, None]).any(0)
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(balls.mean() / neighbours),
        "coverage": float(covered.mean()),
    }


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """The squared distance of each to its neighbour of that number, (n,)."""
    parts = (features[start : start + ROWS] for start in range(0, len(features), ROWS))
    return np.concatenate(
        [np.partition(_squared_distances(part, features), neighbours)[:, neighbours] for part in parts]
    )


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
    return np.maximum(squared, 0)
