"""What training looks like: image grids, loss curves and an animation of the epochs."""

from pathlib import Path
from types import MappingProxyType

import keras

from keras_ae import backends
from keras_ae.files import atomic, dispensable
from keras_ae.models.guarded import shipped
from keras_ae.pictures import Pictures, animation


class ImageGrids(keras.callbacks.Callback):
    """Writes `epoch_NNN_<kind>.png` for each kind of picture, and at the end an animation of each.

    Args:
        folder: of the run.
        pictures: (model, title) -> the pictures by kind: `vae_pictures`, `task_pictures` or your own. Of a model that
            trains another, such as `SharpFit`, the other one is drawn.
        every: epochs between two pictures; the last epoch always has one.

    >>> import keras_ae, numpy as np, tempfile
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> vae.compile("adam")
    >>> batch = {"image": np.zeros((4, 8, 8, 1), "float32"), "label": np.zeros(4, "int32")}
    >>> grids = ImageGrids(tempfile.mkdtemp(), keras_ae.pictures.vae_pictures(batch))
    >>> history = vae.fit(batch, verbose=0, callbacks=[grids])
    >>> sorted(path.name for path in grids.folder.iterdir())
    ['epoch_001_reconstructions.png', 'epoch_001_samples.png']
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
        if not backends.is_first():
            return
        kinds = {path.stem.split("_", 2)[2] for path in self.folder.glob("epoch_*_*.png")}
        for kind in kinds:
            pictures = sorted(self.folder.glob(f"epoch_*_{kind}.png"))
            if len(pictures) > 1:
                with dispensable(self.folder / f"{kind}.webp") as path, atomic(path) as temporary:
                    animation(pictures, temporary)

    def _write(self, epoch: int) -> None:
        with dispensable(self.folder / f"epoch_{epoch:03d}"):
            pictures = self.pictures(shipped(self.model), f"epoch {epoch}")  # which all processes compute together
            for kind, picture in pictures.items() if backends.is_first() else ():
                with atomic(self.folder / f"epoch_{epoch:03d}_{kind}.png") as path:
                    picture.save(path)


class LossCurves(keras.callbacks.Callback):
    """Writes `losses.png` after each epoch: the loss and what else is measured, of training and validation.

    Args:
        folder: of the run.
        history: rows of the epochs before; each epoch adds one.

    >>> import keras_ae, numpy as np, tempfile
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> vae.compile("adam")
    >>> curves = LossCurves(tempfile.mkdtemp())
    >>> history = vae.fit(np.zeros((4, 8, 8, 1)), verbose=0, callbacks=[curves])
    >>> (curves.folder / "losses.png").exists()
    True
    """

    titles = MappingProxyType(
        {
            "loss": "loss",
            "reconstruction": "reconstruction (nats per image)",
            "kl": "KL (nats per image)",
            "psnr": "PSNR (dB)",
            "perplexity": "perplexity (codes)",
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
        if not backends.is_first():
            return
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
