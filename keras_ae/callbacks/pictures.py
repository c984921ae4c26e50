"""What training looks like: image grids, loss curves and an animation of the epochs."""

from pathlib import Path

import keras
import numpy as np

from keras_ae import images
from keras_ae.files import atomic

COUNT = 16
COLUMNS = 8
ROWS = 16  # of classes: more make a picture that no format holds


class ImageGrids(keras.callbacks.Callback):
    """Writes `epoch_NNN_reconstructions.png` and `epoch_NNN_samples.png`, and at the end animations of both.

    Inputs and latents are fixed at the start, so that epochs compare. A conditional model's samples
    have one row per class (the first 16) and the same latents in each.

    Args:
        folder: of the run.
        batch: the images (and labels) to reconstruct, as `Split.batch` gives them.
        every: epochs between two pictures; the last epoch always has one.
        seed: of the latents.
    """

    def __init__(self, folder: Path, batch: dict[str, np.ndarray], every: int = 1, seed: int = 0):
        super().__init__()
        self.folder = Path(folder)
        self.images, self.labels = batch["image"][:COUNT], batch["label"][:COUNT]
        self.every = every
        self.seed = seed

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            self._write(epoch + 1)

    def on_train_end(self, logs=None):
        for kind in ("reconstructions", "samples"):
            pictures = sorted(self.folder.glob(f"epoch_*_{kind}.png"))
            if len(pictures) > 1:
                with atomic(self.folder / f"{kind}.webp") as path:
                    images.animation(pictures, path)

    def _write(self, epoch: int) -> None:
        labels = self.labels if self.model.conditioning != "none" else None
        decoded = self.model.reconstruct(self.images, labels)
        pictures = {
            "reconstructions": images.reconstruction_grid(self.images, decoded, f"epoch {epoch}"),
            "samples": sample_grid(self.model, self.seed, f"epoch {epoch}"),
        }
        for kind, picture in pictures.items():
            with atomic(self.folder / f"epoch_{epoch:03d}_{kind}.png") as path:
                picture.save(path)


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
    """Writes `losses.png` after each epoch: loss, reconstruction and KL of training and validation, and skipped steps.

    Args:
        folder: of the run.
        history: rows of the epochs before; each epoch adds one.
    """

    curves = (("loss", "loss (nats per image)"), ("reconstruction", "reconstruction (nats)"), ("kl", "KL (nats)"))

    def __init__(self, folder: Path, history: list[dict] | None = None):
        super().__init__()
        self.folder = Path(folder)
        self.history = list(history or [])

    def on_epoch_end(self, epoch, logs=None):
        self.history.append({"epoch": epoch + 1, **logs})
        # Figure, not pyplot: no global state, no window system.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 3.4), layout="constrained")
        for axes, (name, title) in zip(figure.subplots(1, len(self.curves)), self.curves, strict=True):
            for key, label in ((name, "train"), (f"val_{name}", "validation")):
                rows = [row for row in self.history if key in row]
                axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], marker=".", label=label)
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        with atomic(self.folder / "losses.png") as path:
            figure.savefig(path, dpi=100)
