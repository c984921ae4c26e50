"""A disk that is full, a folder that cannot be written any more or is gone: nothing that was saved is lost."""

import contextlib
import os
import resource
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import CheckpointError, InputError, callbacks, data
from tests.helpers import ONCE, once, same_run, train_vae


@contextlib.contextmanager
def full(folder):
    """No file may grow beyond 20 kB, which needs no disk of its own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def read_only(folder):
    """The folder loses its permission, and the process the right to write in spite of it."""
    user = os.geteuid()
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@contextlib.contextmanager
def gone(folder):
    """As when a disk is taken away."""
    away = folder.rename(folder.with_name("away"))
    try:
        yield
    finally:
        away.rename(folder)


class At(keras.callbacks.Callback):
    """Enters a context in one step, counted from the start."""

    def __init__(self, step, context):
        super().__init__()
        self.left = step
        self.context = context
        self.stack = contextlib.ExitStack()

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.stack.enter_context(self.context)


@pytest.mark.filterwarnings("default:.* is not written")
@pytest.mark.parametrize("step", [12, 16] if ONCE else [12])
@pytest.mark.parametrize("trouble", [full, read_only, gone] if ONCE else [full])
def test_what_cannot_be_saved_stops_the_training_and_the_last_checkpoint_is_intact(
    tmp_path, dataset, monkeypatch, trouble, step
):
    """In the middle of the second epoch, and in its last step."""
    monkeypatch.setattr(callbacks.checkpoint, "PAUSES", (0, 0))
    folder = tmp_path / "run"
    folder.mkdir()
    at = At(step, trouble(folder))
    with (
        at.stack,
        pytest.raises(CheckpointError, match=r"(npz|keras) cannot be written \(.+\); the one before it"),
    ):
        train_vae(dataset, folder, callbacks=[at], checkpoint_steps=3)
    train_vae(dataset, folder)
    train_vae(dataset, tmp_path / "whole")
    same_run(tmp_path / "whole", folder)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with room for a run. Only a superuser may make one, if only of a user namespace."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed; test_full_disks_of_an_ordinary_user does it in a user namespace")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@contextlib.contextmanager
def filled(disk):
    """Nothing is left of it."""
    with open(disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        (disk / "filler").unlink()


@once("the file system")
@pytest.mark.filterwarnings("default:.* is not written")
@pytest.mark.parametrize("step", [12, 16])
def test_a_full_disk_stops_the_training_and_the_last_checkpoint_is_intact(
    tmp_path, small_disk, dataset, monkeypatch, step
):
    """As above, on a disk that is full indeed."""
    monkeypatch.setattr(callbacks.checkpoint, "PAUSES", (0, 0))
    at = At(step, filled(small_disk))
    with at.stack, pytest.raises(CheckpointError, match="No space left on device"):
        train_vae(dataset, small_disk / "run", callbacks=[at], checkpoint_steps=3)
    assert not list((small_disk / "run").glob(".*.tmp*"))
    train_vae(dataset, small_disk / "run")
    train_vae(dataset, tmp_path / "whole")
    same_run(tmp_path / "whole", small_disk / "run")


@once("the file system")
def test_a_cache_on_a_full_disk_is_named_and_nothing_is_left(small_disk):
    with filled(small_disk), pytest.raises(InputError, match=r"No space left .* choose another with --cache-dir"):
        data.load("shapes", cache_dir=small_disk, limit=60)
    assert not [path.name for path in small_disk.iterdir() if path.suffix != ".lock"]
    assert len(data.load("shapes", cache_dir=small_disk, limit=60).test) == 60


@once("the file system")
@pytest.mark.skipif(os.geteuid() == 0, reason="a superuser has run these tests themselves")
def test_full_disks_of_an_ordinary_user():
    """The tests above, by a superuser of a user namespace, who may mount."""
    superuser = ["env", "unshare", "--map-root-user", "--mount"]
    if subprocess.run([*superuser, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed")
    tests = [sys.executable, "-m", "pytest", "-n", "0", "-rs", __file__, "-k", "a_full_disk"]
    printed = subprocess.run([*superuser, *tests], capture_output=True, text=True)
    assert printed.returncode == 0, printed.stdout
    assert "SKIPPED" not in printed.stdout, printed.stdout


@once("the clock is everywhere the same")
def test_a_write_is_tried_again(tmp_path, dataset, monkeypatch):
    """There is room again after the second pause."""
    folder, pauses = tmp_path / "run", []
    folder.mkdir()
    at = At(11, full(folder))

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            at.stack.close()

    monkeypatch.setattr("time.sleep", sleep)
    with at.stack:
        train_vae(dataset, folder, callbacks=[at], checkpoint_steps=3)
    assert pauses == [1, 5]
    train_vae(dataset, tmp_path / "whole")
    same_run(tmp_path / "whole", folder)


@once("written by NumPy everywhere")
def test_a_checkpoint_that_is_not_read_back_as_written_is_written_again(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(callbacks.checkpoint, "PAUSES", (0, 0))
    write, written = np.savez, []

    def savez(path, **arrays):
        write(path, **arrays)
        written.append(path)
        if len(written) == 2:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    monkeypatch.setattr("numpy.savez", savez)
    train_vae(dataset, tmp_path / "run")
    assert len(written) == 4  # of three epochs
    monkeypatch.undo()
    train_vae(dataset, tmp_path / "whole")
    same_run(tmp_path / "whole", tmp_path / "run")


@once("drawn by Pillow everywhere")
def test_a_failed_picture_ends_nothing(tmp_path, dataset):
    def pictures(model, title):
        if title == "epoch 2":
            raise RuntimeError("no colours left")
        noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), "uint8")
        return {"noise": Image.fromarray(noise)}

    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.warns(UserWarning, match=r"epoch_002 is not written \(no colours left\); the training continues"):
        train_vae(dataset, folder, callbacks=[callbacks.ImageGrids(folder, pictures)])
    assert {path.name for path in folder.glob("*noise*")} == {
        "epoch_001_noise.png",
        "epoch_003_noise.png",
        "noise.webp",
    }
    assert len(callbacks.restore(train_vae(dataset, folder), folder).history) == 3


@once("written by Keras everywhere")
def test_the_final_model_is_written_whole_or_not_at_all(tmp_path, dataset):
    vae = train_vae(dataset, tmp_path / "run")
    file = keras_ae.save_model(vae, tmp_path / "model.keras")
    content = file.read_bytes()
    with full(tmp_path), pytest.raises(OSError, match="File too large"):
        keras_ae.save_model(vae, file)
    assert file.read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} >= {"run", "model.keras"}
    assert not list(tmp_path.glob(".*.tmp*"))
