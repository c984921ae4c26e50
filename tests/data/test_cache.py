"""The cache of decoded images: with one process, several, and after some were killed."""

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from keras_ae import InputError, data
from keras_ae.data.cache import default_cache_dir, open_or_build
from keras_ae.data.tfds import default_data_dir
from tests.helpers import once

PROCESSES = multiprocessing.get_context("forkserver")  # imports Keras once for all of them
PROCESSES.set_forkserver_preload(["keras_ae.data"])


def load(name, tmp_path, **kwargs):
    return data.load(str(name), cache_dir=tmp_path / "cache", **kwargs)


def entries(cache):
    """All that a cache holds, but the locks."""
    return sorted(path for path in cache.iterdir() if path.suffix != ".lock")


@dataclass(frozen=True)
class Small:
    """An entry of one array, which counts how often it is made; with `go`, not before that file is there."""

    number: int
    log: Path
    go: Path | None = None
    name: str = "a/b"

    def key(self):
        return {"number": self.number}

    def write(self, writer):
        writer.append("test", images=np.full((3, 4, 4, 1), self.number % 256, "uint8"))
        with open(self.log, "a") as log:
            log.write(f"{self.number}\n")
        while self.go and not self.go.exists():
            time.sleep(0.01)
        writer.append("test", images=np.full((2, 4, 4, 1), self.number % 256, "uint8"))
        return ["one"]

    def check(self, cache):
        arrays, class_names = open_or_build(self, cache)
        assert class_names == ["one"]
        np.testing.assert_array_equal(arrays["test/images"], np.full((5, 4, 4, 1), self.number % 256))


def build_all(count, folder):
    """Waits for the other processes, then opens or builds each entry."""
    (folder / str(os.getpid())).touch()
    while len(list(folder.glob("[0-9]*"))) < int((folder / "processes").read_text()):
        time.sleep(0.001)
    for number in range(count):
        Small(number, folder / "log").check(folder / "cache")


@once("the file system")
@pytest.mark.parametrize(
    ("processes", "count"),
    [(2, 60), (4, 60), pytest.param(2, 1200, marks=pytest.mark.slow), pytest.param(4, 1200, marks=pytest.mark.slow)],
)
def test_processes_that_want_the_same_entries_at_once_make_each_of_them_once(tmp_path, processes, count):
    (tmp_path / "processes").write_text(str(processes))
    with ProcessPoolExecutor(processes, PROCESSES) as pool:
        list(pool.map(build_all, [count] * processes, [tmp_path] * processes))
    made = (tmp_path / "log").read_text().split()
    assert sorted(made, key=int) == [str(number) for number in range(count)]
    assert len(entries(tmp_path / "cache")) == count


@pytest.fixture
def builder(tmp_path):
    """Starts a process that is in the middle of an entry, until the file `go` is there."""
    started = []

    def start(number):
        log, go = tmp_path / f"log{number}", tmp_path / "go"
        process = PROCESSES.Process(target=Small(number, log, go).check, args=(tmp_path / "cache",))
        process.start()
        started.append(process)
        while not log.exists():
            assert process.is_alive()
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()


@once("the file system")
def test_what_a_killed_process_left_is_swept_and_what_a_live_one_builds_is_not(tmp_path, builder):
    cache = tmp_path / "cache"
    live = builder(1)
    (of_live,) = entries(cache)
    killed = [builder(number) for number in (2, 3)]
    for process in killed:
        process.kill()
        process.join()
    assert len(entries(cache)) == 3
    Small(2, tmp_path / "log").check(cache)  # the same entry as one that was killed
    (entry,) = set(entries(cache)) - {of_live}
    assert (entry / "meta.json").exists()
    (tmp_path / "go").touch()
    live.join()
    assert live.exitcode == 0
    assert len(entries(cache)) == 2
    Small(1, tmp_path / "again").check(cache)
    assert not (tmp_path / "again").exists()  # it was whole


def test_what_an_earlier_version_left_is_swept_after_a_day(tmp_path):
    """And nothing else: a user may choose any folder for the cache."""
    old = tmp_path / ".shapes-0123456789abcdef-ab_12cde"
    others = [tmp_path / name for name in (".shapes-0123456789abcdef-ab_12cdf", ".git", ".my.building", "a-b")]
    for folder in (old, *others):
        folder.mkdir()
        (folder / "file").touch()
    for folder in (old, *others[1:]):
        os.utime(folder, (0, 0))
    Small(1, tmp_path / "log").check(tmp_path)
    assert not old.exists()
    assert all((folder / "file").exists() for folder in others)


def test_an_entry_lies_in_the_cache_whatever_its_name(tmp_path):
    Small(1, tmp_path / "log", name="../../x\n").check(tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["log", "cache"]


def test_where_no_home_is_known_one_is_asked_for(monkeypatch, tmp_path):
    """As in a container, for a user whom its passwd file does not know."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 5)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert (default_cache_dir(), default_data_dir()) == (tmp_path / "keras_ae", tmp_path)
    monkeypatch.setenv("KERAS_HOME", "")
    monkeypatch.delenv("TFDS_DATA_DIR")
    with pytest.raises(InputError, match="no such home folder; set KERAS_HOME, or give --cache-dir"):
        default_cache_dir()
    with pytest.raises(InputError, match="no such home folder; set TFDS_DATA_DIR, or give --data-dir"):
        default_data_dir()
    with pytest.raises(InputError, match=r"~/pictures is nowhere: .* give the whole path"):
        data.load("~/pictures")


def test_an_empty_variable_is_as_none(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "")
    monkeypatch.setenv("TFDS_DATA_DIR", "")
    assert (default_cache_dir(), default_data_dir()) == (tmp_path / ".keras/keras_ae", tmp_path / "tensorflow_datasets")


def test_the_second_opening_reads_and_does_not_build(tmp_path, monkeypatch):
    load("shapes", tmp_path, limit=50)
    monkeypatch.setattr("keras_ae.data.shapes.draw", None)
    again = load("shapes", tmp_path, limit=50)
    assert isinstance(again.train.arrays["images"], np.memmap)


@pytest.mark.parametrize("damage", ["truncate", "flip", "no meta", "bad meta", "deep meta", "no array"])
def test_a_damaged_cache_is_built_anew(tmp_path, damage):
    expected = np.array(load("shapes", tmp_path, limit=50).train.arrays["images"])
    (entry,) = entries(tmp_path / "cache")
    file = entry / "train_images.bin"
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-7])
    elif damage == "flip":
        content[1000] ^= 4
        file.write_bytes(content)
        later = time.time() + 5
        os.utime(file, (later, later))
    elif damage == "no meta":
        (entry / "meta.json").unlink()
    elif damage == "bad meta":
        (entry / "meta.json").write_text(json.dumps({"key": 3})[:-2])
    elif damage == "deep meta":
        (entry / "meta.json").write_text("[" * 10**5)
    else:
        file.unlink()
    np.testing.assert_array_equal(load("shapes", tmp_path, limit=50).train.arrays["images"], expected)
    assert entries(tmp_path / "cache") == [entry]


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(InputError, match="--cache-dir"):
        load("shapes", tmp_path, limit=5)
