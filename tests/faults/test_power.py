"""A power cut at any moment of a run: what is on the disk then is a run that resumes, or none.

What a real run asks of the file system is recorded, and played back up to each of its events by the weakest rules of a
file system that keeps a journal. The bytes of a file are on the disk once they are synced. Until then it is empty. A
name that was made or moved is there for certain once its folder is synced. Until then it may be there or not,
independently of the others.
"""

import json
import os
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_ae import callbacks, runs, save_model
from tests.helpers import once, train_vae

pytestmark = once("the file system")
FLAGS = {"epochs": 3}


@dataclass
class Disk:
    """What is on it after a power cut.

    Attributes:
        contents: of each file that was synced, by the path that it was made as.
        names: path -> the path that the file was made as, or `None` for a folder: what is there for certain.
        pending: what is there perhaps: changes (path that is gone or `None`, path that is new, whether it is a folder
            that is made).
    """

    contents: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)
    pending: list = field(default_factory=list)

    def sync(self, path: Path, content: bytes | None) -> None:
        if content is None:
            self.names = self.after(change for change in self.pending if path in _folders(change))
            self.pending = [change for change in self.pending if path not in _folders(change)]
        else:
            self.contents[self.after(self.pending).get(path, path)] = content
            if path not in self.after(self.pending):
                self.pending.append((None, path, False))

    def move(self, source: Path, target: Path) -> None:
        self.pending.append((source, target, False))

    def make(self, path: Path) -> None:
        self.pending.append((None, path, True))

    def after(self, changes) -> dict:
        names = dict(self.names)
        for gone, new, is_folder in changes:
            moved = {path: file for path, file in names.items() if gone and (path == gone or gone in path.parents)}
            names = {path: file for path, file in names.items() if path not in moved}
            if gone:
                moved = moved or {gone: gone}  # it was made and moved, and only the second has reached the disk
                names |= {new / path.relative_to(gone): file for path, file in moved.items()}
            else:
                names[new] = None if is_folder else new
        return names

    def write(self, changes, place: Path, root: Path) -> Path:
        """The files below `root`, in a new folder `place`."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path, file in self.after(changes).items():
            copy = place / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file is None:
                copy.mkdir(exist_ok=True)
            else:
                copy.write_bytes(self.contents.get(file, b""))
        return place


def _folders(change) -> set[Path]:
    return {path.parent for path in change[:2] if path}


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """The events of what is done below `tmp_path`, in order."""
    events = []
    fsync, replace, rename, mkdir = os.fsync, os.replace, os.rename, os.mkdir

    def note(*event):
        if tmp_path in Path(event[1]).parents:
            events.append(event)

    def noted_fsync(descriptor):
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        note("sync", path, None if path.is_dir() else path.read_bytes())

    def noted_move(function):
        def move(source, target, **kwargs):
            function(source, target, **kwargs)
            note("move", Path(source), Path(target))

        return move

    def noted_mkdir(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        note("make", Path(path))

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_move(replace))
    monkeypatch.setattr(os, "rename", noted_move(rename))
    monkeypatch.setattr(os, "mkdir", noted_mkdir)
    return events


def run(dataset, folder):
    """Three epochs, with a checkpoint every three steps, pictures and models."""

    def pictures(model, title):
        return {"noise": Image.new("RGB", (9, 9))}

    runs.begin(folder, FLAGS)
    vae = train_vae(dataset, folder, callbacks=[callbacks.ImageGrids(folder, pictures)], checkpoint_steps=3)
    save_model(vae, folder / "model.keras")


def check(folder: Path) -> tuple[int, int]:
    """Asserts that the folder is a run, or nothing; returns how far its checkpoint is."""
    if not folder.exists():
        return 0, 0
    assert runs.read_flags(folder) == FLAGS
    for model in folder.glob("[a-z]*.keras"):
        with zipfile.ZipFile(model) as archive:
            assert archive.testzip() is None
    for picture in [*folder.glob("[a-z]*.png"), *folder.glob("[a-z]*.webp")]:
        Image.open(picture).load()
    if not (folder / callbacks.checkpoint.FILE).exists():
        return 0, 0
    with np.load(folder / callbacks.checkpoint.FILE) as checkpoint:
        state = json.loads(str(checkpoint["state"]))
        assert all(len(checkpoint[name].tobytes()) for name in checkpoint.files)  # each is read, with its checksum
    rows = (folder / "history.csv").read_text().splitlines()[1:]
    assert len(rows) >= len(state["history"])  # what the checkpoint has is not written again
    return len(state["history"]), state["batch"]


def test_a_power_cut_at_any_moment_leaves_a_run_that_resumes(tmp_path, dataset, recorded):
    folder = tmp_path / "disk" / "run"
    folder.parent.mkdir()
    run(dataset, folder)
    events = list(recorded)
    assert {event for event, *_ in events} == {"sync", "move", "make"}
    disk, farthest = Disk(), (0, 0)
    for event in events:
        getattr(disk, event[0])(*event[1:])
        alone = [[change] for change in disk.pending]
        reached = [
            check(disk.write(changes, tmp_path / "after", folder.parent) / "run")
            for changes in ([], disk.pending, *alone)
        ]
        assert min(reached) >= farthest  # what was there for certain stays
        farthest = reached[0]
    assert farthest == (3, 0)
