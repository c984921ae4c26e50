"""A power cut at any moment of a run: what is on the disk then is a run that resumes, or none.

What a real run asks of the file system is recorded, and played back up to each of its events by the weakest rules of a
file system that keeps a journal. The bytes of a file are on the disk once they are synced. Until then it is empty. A
name that was made or moved is there for certain once its folder is synced. Until then it may be there or not,
independently of the others. It is found only if the folders above it are.
"""

import itertools
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
from tests.helpers import once, same_run, train_vae

pytestmark = once("the file system")
FLAGS = {"epochs": 3}


@dataclass
class Disk:
    """What is on it after a power cut.

    Attributes:
        contents: of each file that was synced, by the path that it was made as.
        names: path -> the path that the file was made as, or `None` for a folder: what is there for certain.
        pending: what is there perhaps: changes (path that is gone or `None`, path that is new, what that names).
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
                self.pending.append((None, path, path))

    def move(self, source: Path, target: Path) -> None:
        self.pending.append((source, target, self.after(self.pending).get(source, source)))

    def make(self, path: Path) -> None:
        self.pending.append((None, path, None))

    def after(self, changes) -> dict:
        names = dict(self.names)
        for gone, new, file in changes:
            within = {path: inner for path, inner in names.items() if gone in path.parents}
            names = {path: other for path, other in names.items() if path != gone and path not in within}
            names |= {new / path.relative_to(gone): inner for path, inner in within.items()}
            names[new] = file
        return names

    def write(self, changes, place: Path, root: Path) -> Path:
        """The files below `root`, in a new folder `place`."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        names = self.after(changes)
        for path in sorted(names):
            copy = place / path.relative_to(root)
            if copy.parent.exists() and names[path] is None:
                copy.mkdir()
            elif copy.parent.exists():
                copy.write_bytes(self.contents.get(names[path], b""))
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
    root = tmp_path / "disk"
    folder, after = root / "runs" / "run", tmp_path / "after" / "runs" / "run"
    root.mkdir()
    recorded.clear()
    run(dataset, folder)
    events = list(recorded)  # what follows adds to them
    assert {event for event, *_ in events} == {"sync", "move", "make"}
    disk, farthest = Disk(), (0, 0)
    for event, *arguments in events:
        getattr(disk, event)(*arguments)
        reached = []
        for count in range(len(disk.pending) + 1):
            for changes in itertools.combinations(disk.pending, count):
                disk.write(changes, tmp_path / "after", root)
                reached.append(check(after))
        assert min(reached) >= farthest  # what was there for certain stays
        farthest = reached[0]
    assert farthest == (3, 0)
    disk.write([], tmp_path / "after", root)
    (folder / ".lock").unlink()  # which says nothing
    same_run(folder, after)  # nothing else was written in another way
