"""Principal components of a split's images, in float64."""

import numpy as np

BLOCK = 2000  # images


def components(split, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), variances (n,), the largest first, and directions (d, n) of the images.

    n is d; of fewer images than d, one less than there are. `mirrored` adds the images' mirror images.
    """
    count = len(split) * (1 + mirrored)
    mean = sum(block.sum(0) for block in _blocks(split, mirrored)) / count
    if count > len(mean):
        covariance = sum((block - mean).T @ (block - mean) for block in _blocks(split, mirrored)) / count
        variances, directions = np.linalg.eigh(covariance)
        return mean, np.maximum(variances[::-1], 1e-12), directions[:, ::-1]
    # What the images span, by the products of one with another, whose matrix has the same variances and is smaller.
    centred = np.concatenate(list(_blocks(split, mirrored))) - mean
    variances, images = np.linalg.eigh(centred @ centred.T / count)
    variances, images = variances[:0:-1], images[:, :0:-1]
    return mean, variances, centred.T @ (images / np.sqrt(count * variances))


def along(directions, mean, split) -> tuple[np.ndarray, float]:
    """The mean squares of the images along the directions, and in all."""
    squares, total = 0.0, 0.0
    for block in _blocks(split):
        block -= mean
        squares += np.square(block @ directions).sum(0) / len(split)
        total += np.square(block).sum() / len(split)
    return squares, total


def _blocks(split, mirrored: bool = False):
    for start in range(0, len(split), BLOCK):
        images = split.batch(slice(start, start + BLOCK))["image"].astype("float64")
        yield images.reshape(len(images), -1)
        if mirrored:
            yield images[:, :, ::-1].reshape(len(images), -1)
