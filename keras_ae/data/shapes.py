"""`shapes`: the embedded data set, drawn by the package itself.

One coloured shape on a grey ground, with known factors of variation and the exact mask of the
shape's pixels: enough for a first VAE, for disentanglement metrics and for segmentation.
"""

from dataclasses import dataclass

import numpy as np

from keras_ae.data.cache import Writer

CLASS_NAMES = ["circle", "square", "triangle", "star", "heart", "cross"]
# Columns of the array `factors`: the centre in units of the image's side from its middle, the
# circumscribed radius in the same unit, the rotation in radians, the hue and the ground's grey in [0, 1].
FACTORS = ["x", "y", "scale", "rotation", "hue", "background"]
LOW = np.array([-0.1, -0.1, 0.32, -0.25, 0.0, 0.05])
HIGH = np.array([0.1, 0.1, 0.42, 0.25, 1.0, 0.45])
COUNTS = {"train": 20_000, "test": 2_000}
BLOCK = 500
PIXELS = 2**21  # drawn at once


@dataclass(frozen=True)
class Shapes:
    """The source of `shapes`: image number i of a split depends on the split and on i // BLOCK only."""

    image_size: tuple[int, int] | None = None
    limit: int | None = None
    name: str = "shapes"

    def key(self) -> dict:
        return {"name": self.name, "version": 2, "image_size": self.image_size, "limit": self.limit}

    def write(self, writer: Writer) -> list[str]:
        height, width = self.image_size or (32, 32)
        for number, (split, count) in enumerate(COUNTS.items()):
            count = min(count, self.limit or count)
            for start in range(0, count, BLOCK):
                random = np.random.default_rng([2026, number, start])
                labels = random.permutation(np.arange(BLOCK) % len(CLASS_NAMES))
                factors = random.uniform(LOW, HIGH, (BLOCK, len(FACTORS)))
                keep = min(BLOCK, count - start)
                at_once = max(1, PIXELS // (height * width))
                for first in range(0, keep, at_once):
                    rows = slice(first, min(first + at_once, keep))
                    images, masks = draw(labels[rows], factors[rows], height, width)
                    writer.append(
                        split,
                        images=images,
                        labels=labels[rows].astype("int32"),
                        masks=masks,
                        factors=factors[rows].astype("float32"),
                    )
        writer.append("masks", levels=np.array([0, 255], "uint8"))
        return CLASS_NAMES


def draw(labels: np.ndarray, factors: np.ndarray, height: int = 32, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Draws one shape per row of `factors` (n, 6), of the kind given by `labels` (n,).

    Returns:
        Images (n, height, width, 3) and masks (n, height, width, 1), both uint8; a mask is the share
        of each pixel that the shape covers, 255 for all of it.
    """
    x, y, scale, rotation, hue, background = (factors[:, i, None, None] for i in range(len(FACTORS)))
    side = min(height, width)
    rows = ((np.arange(height) + 0.5) - height / 2)[None, :, None] / side - y
    columns = ((np.arange(width) + 0.5) - width / 2)[None, None, :] / side - x
    u = (np.cos(rotation) * columns + np.sin(rotation) * rows) / scale
    v = (np.cos(rotation) * rows - np.sin(rotation) * columns) / scale
    distance = np.empty(u.shape)
    for kind, name in enumerate(CLASS_NAMES):
        chosen = labels == kind
        distance[chosen] = DISTANCES[name](u[chosen], v[chosen])
    # A pixel's share is linear in its signed distance to the outline: anti-aliasing one pixel wide.
    coverage = np.clip(0.5 - distance * scale * side, 0, 1)[..., None]
    images = coverage * _rgb(hue)[:, None, None, :] + (1 - coverage) * background[..., None]
    return np.rint(images * 255).astype("uint8"), np.rint(coverage * 255).astype("uint8")


def _rgb(hue: np.ndarray) -> np.ndarray:
    """Fully bright colours (n, 3) of the given hues in [0, 1], 85% saturated."""
    sectors = (hue.reshape(-1, 1) * 6 + np.array([0.0, 4.0, 2.0])) % 6
    return 1 - 0.85 * (1 - np.clip(np.abs(sectors - 3) - 1, 0, 1))


def _circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) - 0.85


def _polygon(points: np.ndarray):
    """The signed distance to the outline of a polygon (k, 2), negative inside, as a function of u and v."""

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        nearest, inside = np.full(u.shape, np.inf), np.zeros(u.shape, bool)
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
            ex, ey, pu, pv = bx - ax, by - ay, u - ax, v - ay
            along = np.clip((pu * ex + pv * ey) / (ex * ex + ey * ey), 0, 1)
            nearest = np.minimum(nearest, (pu - along * ex) ** 2 + (pv - along * ey) ** 2)
            if ey != 0:  # even-odd rule along the row
                inside ^= ((ay > v) != (by > v)) & (pu < ex * pv / ey)
        return np.where(inside, -1, 1) * np.sqrt(nearest)

    return distance


def _regular(corners: int, radii: tuple[float, ...]) -> np.ndarray:
    angle = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    radius = np.resize(radii, corners)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    outline = np.stack(
        [16 * np.sin(t) ** 3, -13 * np.cos(t) + 5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t)], axis=1
    )
    return (outline - [0, 2.5]) / 16


_CROSS = np.array([(a, b) for a, b in [(-3, -1), (-1, -1), (-1, -3), (1, -3), (1, -1), (3, -1)]])
DISTANCES = {
    "circle": _circle,
    "square": _polygon(_regular(4, (1.0,))),
    "triangle": _polygon(_regular(3, (1.0,))),
    "star": _polygon(_regular(10, (1.0, 0.45))),
    "heart": _polygon(_heart()),
    "cross": _polygon(np.concatenate([_CROSS, -_CROSS]) / 3.2),
}
