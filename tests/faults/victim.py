"""A training script that notes each step and kills itself where it is told to, so that no moment is too short to hit:

    python -m tests.faults.victim LOG EVENT vae --dataset shapes ...

LOG gets a line "epoch batch" after each step. At the EVENT-th stage of a write (0: never) the process gets SIGKILL;
stages are half a file written (a checkpoint, a model, a picture), the file before it is read back, synced and renamed,
and after that.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

import numpy as np

stages = 0


def main(log: str, event: str, script: str, *arguments: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent.parent / "train"))
    cli, environment = importlib.import_module("_flags"), importlib.import_module("_environment")
    environment.set_environment(None, os.environ["KERAS_BACKEND"])
    import keras
    from PIL import Image

    from keras_ae import files
    from keras_ae.callbacks import Checkpoint, checkpoint

    def stage(function):
        """`function`, before which the process may die."""

        def staged(*args, **kwargs):
            _maybe_die(int(event))
            return function(*args, **kwargs)

        return staged

    files._sync = stage(files._sync)
    checkpoint.check_archive = stage(checkpoint.check_archive)
    os.replace, Path.rename = stage(os.replace), stage(Path.rename)
    np.savez = _half(np.savez, int(event))
    keras.Model.save = _half_method(keras.Model.save, int(event))
    Image.Image.save = _half_method(Image.Image.save, int(event))
    Checkpoint.on_train_batch_end = _noted(Checkpoint.on_train_batch_end, os.open(log, os.O_CREAT | os.O_WRONLY))
    sys.argv = [f"{script}.py", *arguments]
    cli.run(importlib.import_module(script).main)


def _maybe_die(event: int) -> None:
    global stages
    stages += 1
    if stages == event:
        os.kill(os.getpid(), signal.SIGKILL)


def _half(savez, event):
    def written(path, **arrays):
        if stages + 1 == event:
            savez(path, **dict(list(arrays.items())[: len(arrays) // 2]))
            os.truncate(path, os.path.getsize(path) // 2)
        _maybe_die(event)
        savez(path, **arrays)

    return written


def _half_method(save, event):
    """A method that writes a file, of which half may be left."""

    def saved(self, path, *args, **kwargs):
        save(self, path, *args, **kwargs)
        if stages + 1 == event and isinstance(path, str | Path):
            os.truncate(path, os.path.getsize(path) // 2)
        _maybe_die(event)

    return saved


def _noted(on_train_batch_end, log):
    def noted(self, batch, logs=None):
        os.write(log, f"{len(self.state.history)} {self.resumed_at + batch + 1}\n".encode())
        on_train_batch_end(self, batch, logs)

    return noted


if __name__ == "__main__":
    main(*sys.argv[1:])
