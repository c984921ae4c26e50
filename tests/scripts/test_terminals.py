"""Trainings whose terminal, reader or standard streams go away: real processes, real pipes and terminals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from tests.helpers import once

BACKEND = keras.backend.backend()
ROOT = Path(__file__).parent.parent.parent
TRAIN = [sys.executable, str(ROOT / "train/vae.py"), "--backend", BACKEND, "--run-dir", "run"]
TRAIN += ["--limit", "80", "--batch-size", "8", "--width", "4", "--image-size", "8", "--grid-every", "500"]
pytestmark = once("streams and signals")


def shell(tmp_path, redirected, epochs=2, allocator=False):
    """The exit code of a short training in a shell, and what it printed to what is left open."""
    command = f"{' '.join(map(str, TRAIN))} --epochs {epochs} {redirected}"
    environment = {**os.environ, "TQDM_DISABLE": "1", "GLIBC_TUNABLES": ""}
    if allocator:  # the script starts itself again
        del environment["GLIBC_TUNABLES"]
    ended = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_reader_that_ends_does_not_end_the_training(tmp_path):
    code, out, err = shell(tmp_path, "| head -1; exit ${PIPESTATUS[0]}")
    assert (code, out.count("\n"), err) == (0, 1, "")
    assert (tmp_path / "run/model.keras").exists()


@pytest.mark.parametrize("allocator", [False, True])
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_end_the_training(tmp_path, closed, allocator):
    code, out, _ = shell(tmp_path, closed, epochs=1, allocator=allocator)
    assert code == 0
    assert ("next: python" in out) == (">&- 2>&-" not in closed)
    assert (tmp_path / "run/model.keras").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_lines_that_a_full_disk_loses_are_reported_after_the_training(tmp_path):
    code, _, err = shell(tmp_path, "> /dev/full")
    assert (code, err) == (
        2,
        "vae.py: error: printed lines are lost (No space left on device); make room for them\n",
    )
    assert (tmp_path / "run/model.keras").exists()


def started(tmp_path, **kwargs):
    process = subprocess.Popen([*TRAIN, "--epochs", "500"], cwd=tmp_path, **kwargs)
    deadline = time.time() + 240
    while not (tmp_path / "run/history.csv").exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.05)
    return process


def test_a_terminal_that_is_gone_saves_and_stops(tmp_path):
    """As a lost SSH connection: the kernel sends SIGHUP to the session, and nothing can be printed any more."""
    ours, theirs = os.openpty()
    script = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    script += "; os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *TRAIN, "--epochs", "500"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    deadline = time.time() + 240
    while not (tmp_path / "run/history.csv").exists() and time.time() < deadline:
        os.set_blocking(ours, False)
        try:
            os.read(ours, 2**16)
        except BlockingIOError:
            time.sleep(0.05)
    os.close(ours)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert (tmp_path / "run/checkpoint.npz").exists()


def test_sighup_twice_saves_and_prints_how_to_resume(tmp_path):
    """The kernel sends one, and the shell another."""
    process = started(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (129, -signal.SIGHUP), err
    assert "Traceback" not in err
    assert (tmp_path / "run/checkpoint.npz").exists()


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can be somebody without a home")
def test_keras_home_is_enough_for_somebody_without_a_home(tmp_path):
    code = "import os, sys; sys.path.insert(0, sys.argv[1]); import pwd, _environment, _flags"
    code += "; parser = _flags.Parser(''); os.setuid(54321); print(_environment._home(parser))"
    run = [sys.executable, "-c", code, str(ROOT / "train")]
    found = subprocess.run(run, env={"KERAS_HOME": "/somewhere"}, capture_output=True, text=True)
    assert found.stdout == "/somewhere\n", found.stderr
    for environment in ({}, {"KERAS_HOME": ""}):
        found = subprocess.run(run, env=environment, capture_output=True, text=True)
        assert found.returncode == 2
        assert "there is no home folder; set KERAS_HOME to a folder that can be written" in found.stderr


def test_an_empty_keras_home_is_unset(tmp_path, monkeypatch):
    import _environment

    monkeypatch.setenv("KERAS_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _environment._home(None) == tmp_path / ".keras"
    assert "KERAS_HOME" not in os.environ
