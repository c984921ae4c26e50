"""Arrays of images -> one labelled grid picture."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 2
MARGIN = 6
TEXT = 13
SIDE = 64  # small images are enlarged by a whole factor until the shorter side is about this


def to_picture(image: np.ndarray) -> Image.Image:
    """One image (height, width, 1 or 3), float in [0, 1], as an RGB picture."""
    pixels = np.rint(np.clip(np.nan_to_num(image, nan=1.0), 0, 1) * 255).astype("uint8")
    return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())


def grid(rows: np.ndarray, labels: list[str] | None = None, title: str | None = None) -> Image.Image:
    """One picture of `rows` (rows, columns, height, width, channels), float in [0, 1]; NaN stays white.

    Args:
        labels: a word for each row, written at its left.
        title: written above.
    """
    rows = np.asarray(rows)
    scale = max(1, SIDE // min(rows.shape[2:4]))
    height, width = scale * rows.shape[2], scale * rows.shape[3]
    font = ImageFont.load_default(TEXT)
    left = MARGIN + (round(max(font.getlength(label) for label in labels)) + MARGIN if labels else 0)
    top = MARGIN + (TEXT + MARGIN if title else 0)
    picture_width = left + rows.shape[1] * (width + GAP) + MARGIN
    if title:
        picture_width = max(picture_width, round(font.getlength(title)) + 2 * MARGIN)
    picture = Image.new("RGB", (picture_width, top + rows.shape[0] * (height + GAP) + MARGIN), "white")
    pen = ImageDraw.Draw(picture)
    if title:
        pen.text((MARGIN, MARGIN // 2), title, fill="black", font=font)
    for y, row in enumerate(rows):
        if labels:
            pen.text((MARGIN, top + y * (height + GAP) + height / 2), labels[y], fill="black", font=font, anchor="lm")
        for x, image in enumerate(row):
            enlarged = to_picture(image).resize((width, height), Image.Resampling.NEAREST)
            picture.paste(enlarged, (left + x * (width + GAP), top + y * (height + GAP)))
    return picture


def comparison_grid(rows: dict[str, np.ndarray], title: str | None = None) -> Image.Image:
    """Named rows of images (n, height, width, channels) one above the other, in bands of at most 8 columns."""
    count = len(next(iter(rows.values())))
    channels = max(images.shape[-1] for images in rows.values())
    band = -(-count // -(-count // 8))
    bands = []
    for start in range(0, count, band):
        for images in rows.values():
            part = np.broadcast_to(images[start : start + band], (*images[start : start + band].shape[:3], channels))
            bands.append(np.concatenate([part, np.full((band - len(part), *part.shape[1:]), np.nan)]))
    return grid(np.stack(bands), [*rows] * (len(bands) // len(rows)), title)


def animation(pictures: list[Path], path: Path, milliseconds: int = 400) -> None:
    """Shows PNGs of equal size one after the other, as a GIF or WebP by the ending of `path`; the last one stays."""
    frames = []
    for picture in pictures:
        with Image.open(picture) as frame:
            frames.append(frame.copy())
    durations = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
