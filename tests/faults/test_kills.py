"""Trainings killed at random moments end as one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.helpers import once, same_run

BACKEND = keras.backend.backend()
ROOT = Path(__file__).parent.parent.parent
STEPS, EVERY = 14, 4  # in an epoch; between checkpoints
STAGES = 260  # of the writes of a run, from which a kill inside one is drawn
KILLS = 84  # of each script on each backend: 504 in all
FLAGS = "--dataset shapes --limit 120 --batch-size 8 --epochs 5 --image-size 12 --width 4"
SCRIPTS = {
    "vae": f"{FLAGS} --latent-dim 4 --checkpoint-every {EVERY}",
    "conv_ae": f"{FLAGS} --code-channels 4 --task denoise --checkpoint-every {EVERY}",
}


class Run:
    """A run folder, the process in it, and what the process has noted."""

    def __init__(self, folder: Path, script: str):
        self.folder = folder
        self.script = script
        self.log = folder.with_suffix(".log")

    def start(self, event: int = 0) -> None:
        flags = ["--resume", self.folder] if self.folder.exists() else self._flags()
        self.log.write_text("")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim", self.log, str(event), self.script, *map(str, flags)],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": BACKEND, "TQDM_DISABLE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _flags(self):
        return ["--backend", BACKEND, "--run-dir", self.folder, *SCRIPTS[self.script].split()]

    def end(self) -> int:
        """Waits for the process; whatever it said is the message where it failed of its own."""
        printed, _ = self.process.communicate(timeout=300)
        assert self.process.returncode in (0, -signal.SIGKILL), printed
        return self.process.returncode

    def steps_done(self) -> int:
        """By the process, counted from the start of the run."""
        lines = self.log.read_text().split("\n")[:-1]
        epoch, batch = map(int, lines[-1].split()) if lines else (0, 0)
        return epoch * STEPS + batch

    def steps_saved(self) -> int:
        if not (self.folder / "checkpoint.npz").exists():
            return 0
        with np.load(self.folder / "checkpoint.npz") as saved:
            state = json.loads(str(saved["state"]))
        return len(state["history"]) * STEPS + state["batch"]


def kill_at_random(run: Run, random) -> None:
    """At any time from the start of the process on, or, as these times are mostly spent importing, in the training."""
    run.start()
    if random.random() < 0.7:
        while not run.steps_done() and run.process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 2))
    else:
        time.sleep(random.uniform(0, 10))
    run.process.kill()


def survive(folder: Path, script: str, kills: int, random) -> dict:
    """Kills runs until there were so many kills, half of them inside a write, and compares each run that ended."""
    whole = Run(folder / "whole", script)
    whole.start()
    assert whole.end() == 0
    figures = {"kills": 0, "inside_a_write": 0, "most_steps_repeated": 0, "runs_compared": 0}
    while figures["kills"] < kills:
        run = Run(folder / f"run_{figures['runs_compared']}", script)
        ended = False
        while not ended:
            inside = random.random() < 0.5
            if figures["kills"] >= kills:
                run.start()
            elif inside:
                run.start(event=int(random.integers(1, STAGES)))
            else:
                kill_at_random(run, random)
            killed = run.end() != 0
            ended = not killed or (run.folder / "model.keras").exists()
            if killed:
                figures["kills"] += 1
                figures["inside_a_write"] += inside
                repeated = run.steps_done() - run.steps_saved()
                figures["most_steps_repeated"] = max(figures["most_steps_repeated"], repeated)
        same_run(whole.folder, run.folder)
        figures["runs_compared"] += 1
    return figures


@once("test_callbacks.py stops and resumes on each backend")
def test_a_killed_run_ends_as_one_that_was_not(tmp_path, random):
    figures = survive(tmp_path, "vae", 2, random)
    assert figures["inside_a_write"] >= 1
    assert figures["most_steps_repeated"] <= EVERY


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_many_kills(tmp_path, script, random, capsys):
    figures = survive(tmp_path, script, KILLS, random)
    with capsys.disabled():
        print(f"\n{BACKEND} {script}: {figures}")
    assert figures["most_steps_repeated"] <= EVERY
