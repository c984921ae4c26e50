"""A process that dies ends the others with one line, and the run resumes."""

import time
from pathlib import Path

import keras
import pytest

from tests.devices.member import launched
from tests.faults.test_kills import SCRIPTS, STEPS
from tests.helpers import same_run

BACKEND = keras.backend.backend()
WAIT = 30  # seconds
KILLS = 20
pytestmark = pytest.mark.skipif(BACKEND == "tensorflow", reason="one process")


def start(folder: Path) -> list:
    """Both processes of a run, each with a log of its steps."""
    flags = (
        ["--resume", folder]
        if folder.exists()
        else ["--backend", BACKEND, "--run-dir", folder, *SCRIPTS["vae"].split()]
    )
    module = ["-m", "tests.faults.victim", folder.with_suffix(".log"), "0", "vae"]
    folder.with_suffix(".log").write_text("")
    return launched(*module, *flags)


def ended(processes) -> list[str]:
    """What they have printed."""
    try:
        return [process.communicate(timeout=WAIT * 20)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def kill_one(folder: Path, random) -> float:
    """Kills one of two processes some steps after they have begun. Returns how long the other one lived."""
    processes = start(folder)
    log, steps = folder.with_suffix(".log"), int(random.integers(3, STEPS))
    while log.read_text().count("\n") < steps and all(process.poll() is None for process in processes):
        time.sleep(0.01)
    dead, other = processes if random.random() < 0.5 else processes[::-1]
    dead.kill()
    began = time.monotonic()
    other.wait(timeout=WAIT * 20)
    lived = time.monotonic() - began
    printed = ended(processes)[processes.index(other)]
    if other.returncode:
        lines = [line for line in printed.splitlines() if "error:" in line]
        assert "another process of this training has ended" in printed, printed
        assert "Traceback" not in printed, printed
        assert len(lines) == 1, printed
    return lived


def survive(folder: Path, kills: int, random) -> list[float]:
    whole, run = folder / "whole", folder / "run"
    printed = ended(start(whole))
    assert (whole / "model.keras").exists(), printed
    lived, number = [], 0
    while len(lived) < kills:
        run = folder / f"run_{number}"
        while len(lived) < kills and not (run / "model.keras").exists():
            lived.append(kill_one(run, random))
        while not (run / "model.keras").exists():
            printed = ended(start(run))
        same_run(whole, run)
        number += 1
    return lived


def test_a_process_that_dies_ends_the_other(tmp_path, random):
    assert kill_one(tmp_path / "run", random) < WAIT


@pytest.mark.slow
def test_many_processes_die(tmp_path, random, capsys):
    lived = survive(tmp_path, KILLS, random)
    with capsys.disabled():
        print(f"\n{BACKEND}: {len(lived)} kills, the other process lived {max(lived):.1f} s at most")
    assert max(lived) < WAIT
