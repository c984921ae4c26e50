"""What training looks like: image grids, loss curves and an animation of the epochs."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np
from PIL import Image

from keras_ae import pictures as images
from keras_ae.files import atomic, dispensable

COUNT = 16
COLUMNS = 8
Pictures = Callable[[keras.Model, str], dict[str, Image.Image]]
ROWS = 16  # of classes: more make a picture that no format holds


class ImageGrids(keras.callbacks.Callback):
    """Writes `epoch_NNN_<kind>.png` for each kind of picture, and at the end an animation of each.

    Args:
        folder: of the run.
        pictures: (model, title) -> the pictures by kind: `vae_pictures`, `task_pictures` or your own.
        every: epochs between two pictures; the last epoch always has one.
    """

    def __init__(self, folder: Path, pictures: Pictures, every: int = 1):
        super().__init__()
        self.folder = Path(folder)
        self.pictures = pictures
        self.every = every

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            self._write(epoch + 1)

    def on_train_end(self, logs=None):
        kinds = {path.stem.split("_", 2)[2] for path in self.folder.glob("epoch_*_*.png")}
        for kind in kinds:
            pictures = sorted(self.folder.glob(f"epoch_*_{kind}.png"))
            if len(pictures) > 1:
                with dispensable(self.folder / f"{kind}.webp") as path, atomic(path) as temporary:
                    images.animation(pictures, temporary)

    def _write(self, epoch: int) -> None:
        with dispensable(self.folder / f"epoch_{epoch:03d}"):
            for kind, picture in self.pictures(self.model, f"epoch {epoch}").items():
                with atomic(self.folder / f"epoch_{epoch:03d}_{kind}.png") as path:
                    picture.save(path)


def vae_pictures(batch: dict[str, np.ndarray], seed: int = 0) -> Pictures:
    """The `reconstructions` and `samples` of a VAE. Inputs and latents are fixed here, so that epochs compare.

    A conditional model's samples have one row per class (the first 16) and the same latents in each.

    Args:
        batch: the images (and labels) to reconstruct, as `Split.batch` gives them.
        seed: of the latents.
    """
    originals, labels = batch["image"][:COUNT], batch["label"][:COUNT]

    def pictures(vae, title):
        decoded = vae.reconstruct(originals, labels if vae.conditioning != "none" else None)
        return {
            "reconstructions": images.comparison_grid({"original": originals, "decoded": decoded}, title),
            "samples": sample_grid(vae, seed, title),
        }

    return pictures


def task_pictures(task, split) -> Pictures:
    """What a convolutional autoencoder makes of the first images of a split, beside what it is given and should
    make; corrupted once, so that epochs compare."""
    inputs, target, *_ = task.take(split, slice(0, COUNT))

    def pictures(model, title):
        output = model.predict(inputs, verbose=0)
        return {task.name: images.comparison_grid(task.rows(inputs, target, output), title)}

    return pictures


def sample_grid(model, seed: int, title: str | None = None):
    """Samples as a picture: a row for each of the first classes, all with the same latents, or a square of
    different ones where the model is not conditional."""
    columns = COLUMNS
    if model.conditioning == "none":
        samples = model.sample(columns * columns, seed=seed)
        return images.grid(samples.reshape(columns, columns, *model.image_shape), title=title)
    z = np.random.default_rng(seed).standard_normal((columns, model.latent_dim), dtype="float32")
    names = model.class_names[:ROWS]
    rows = model.decode(np.tile(z, (len(names), 1)), np.repeat(model.label_ids(names, len(names)), columns))
    return images.grid(rows.reshape(len(names), columns, *model.image_shape), names, title)


class LossCurves(keras.callbacks.Callback):
    """Writes `losses.png` after each epoch: the loss and what else is measured, of training and validation.

    Args:
        folder: of the run.
        history: rows of the epochs before; each epoch adds one.
    """

    titles = MappingProxyType(
        {
            "loss": "loss",
            "reconstruction": "reconstruction (nats per image)",
            "kl": "KL (nats per image)",
            "psnr": "PSNR (dB)",
            "ssim": "SSIM",
            "mean_iou": "mean IoU",
        }
    )

    def __init__(self, folder: Path, history: list[dict] | None = None):
        super().__init__()
        self.folder = Path(folder)
        self.history = list(history or [])

    def on_epoch_end(self, epoch, logs=None):
        self.history.append({"epoch": epoch + 1, **logs})
        with dispensable(self.folder / "losses.png") as path, atomic(path) as temporary:
            self._figure(logs).savefig(temporary, dpi=100)

    def _figure(self, logs):
        # Figure, not pyplot: no global state, no window system.
        from matplotlib.figure import Figure

        shown = [name for name in self.titles if name in logs]
        figure = Figure(figsize=(4 * len(shown), 3.4), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for key, label in ((name, "train"), (f"val_{name}", "validation")):
                rows = [row for row in self.history if key in row]
                axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], marker=".", label=label)
            axes.set(title=self.titles[name], xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        return figure
