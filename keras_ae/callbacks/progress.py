"""What a person in front of the terminal sees."""

import sys

import keras
from tqdm import tqdm

from keras_ae import backends
from keras_ae.guards import INTERVAL


class Progress(keras.callbacks.Callback):
    """One bar over the whole training with its ETA, and a line for each finished epoch.

    Where the output is not a terminal, only the lines are printed.

    Args:
        steps: in an epoch, where the first one is not trained from its start.

    >>> import keras_ae, numpy as np
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> vae.compile("adam")
    >>> history = vae.fit(np.zeros((4, 8, 8, 1)), verbose=0, callbacks=[Progress()])
    epoch 1/1 | train: loss ..., reconstruction ..., kl ..., mse ...
    """

    shown = ("loss", "reconstruction", "kl", "mse", "psnr", "ssim", "mean_iou")

    def __init__(self, steps: int | None = None):
        super().__init__()
        self.steps = steps
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:  # only now is the first epoch of a resumed run known
            steps = self.steps or self.params["steps"]
            self.bar = tqdm(
                total=steps * self.params["epochs"],
                initial=steps * (epoch + 1) - self.params["steps"],
                desc="training",
                unit="step",
                disable=not (sys.stderr.isatty() and backends.is_first()),
                bar_format="{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} steps, ETA {remaining}{postfix}",
            )

    def on_train_batch_begin(self, batch, logs=None):
        if batch:
            self.bar.update()
        if batch and batch % INTERVAL == 0:
            loss = float(self.model.get_metrics_result()["loss"])
            self.bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.update()
        if not backends.is_first():
            return
        logs = logs or {}
        width = len(str(self.params["epochs"]))
        line = f"epoch {epoch + 1:{width}d}/{self.params['epochs']}"
        shown = [name for name in self.shown if name in logs]
        for prefix, name in (("", "train"), ("val_", "validation")):
            parts = [f"{key} {logs[prefix + key]:.4g}" for key in shown if prefix + key in logs]
            if parts:
                line += f" | {name}: {', '.join(parts)}"
        if logs.get("skipped_steps"):
            above = " or above the norm" if getattr(self.model, "skip_norm", None) else ""
            line += f" | {logs['skipped_steps']:.0f} steps skipped: not finite{above}"
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def close(self):
        """Ends the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def on_train_end(self, logs=None):
        self.close()
