"""train/tune.py as its user runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from PIL import Image

import keras_ae
from tests.helpers import once

BACKEND = keras.backend.backend()
ROOT = Path(__file__).parent.parent.parent
SMALL = "--dataset images --batch-size 16 --width 4 --max-epochs 2"


@pytest.fixture
def images(tmp_path, random):
    """A folder of 50 small images."""
    (tmp_path / "images").mkdir()
    for number in range(50):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), "uint8")).save(tmp_path / "images" / f"{number}.png")


def tune(folder, flags, **environment):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train/tune.py"), "--backend", BACKEND, "--run-dir", str(folder), *flags.split()],
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TQDM_DISABLE": "1", **environment},
    )


def finished(process, code=0):
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return out if code == 0 else err


def rows(folder):
    with open(folder / "trials.csv") as file:
        return list(csv.DictReader(file))


@once("tests/tuning searches on each backend")
def test_a_search_ends_with_table_plots_and_the_best_model(tmp_path, images):
    folder = tmp_path / "tune"
    command = f"{SMALL} --latent-dims 2,3"
    out = finished(tune(folder, command))
    assert [row["latent dim"] for row in rows(folder)] == ["2", "3"]
    best = max(rows(folder), key=lambda row: float(row["ELBO"]))
    assert f"best: latent dim {best['latent dim']}\n" in out
    assert {"elbo.png", "rate_distortion.png", "model.keras", "model.md"} <= {path.name for path in folder.iterdir()}
    about = keras_ae.read_metadata(folder / "model.keras")
    assert about["tuned"] == {"latent_dim": int(best["latent dim"])}
    assert keras_ae.load_model(folder / "model.keras").latent_dim == int(best["latent dim"])
    assert f"next: python train/sample.py {folder / 'model.keras'}" in out
    out = finished(tune(folder, command))
    assert "exists already" in out
    assert "trial 1" not in out  # nothing was trained again
    err = finished(tune(folder, f"{SMALL} --latent-dims 2,4"), code=2)
    assert "was begun with --latent-dims 2,3, now it is 2,4; give the same flags to continue" in err


@once("processes and their messages are the same everywhere")
def test_a_chief_and_two_workers_stopped_and_resumed(tmp_path, images):
    folder = tmp_path / "tune it"
    command = f"{SMALL} --model conv_ae --code-channels 2 --code-sizes 1,2,3,9 --workers 2"
    process = tune(folder, command)
    deadline = time.time() + 120
    while time.time() < deadline and not list(folder.glob("trials/trial_*/checkpoint.npz")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"resume with: python train/tune.py --backend {BACKEND} --run-dir '{folder}' {command}\n" in err
    out = finished(tune(folder, command))
    tried = {row["code size"]: row for row in rows(folder)}
    assert tried.keys() == {"1", "2", "3", "9"}
    assert tried["9"]["failed"].startswith("InputError: code_size 9 is larger than the image")
    assert all(float(tried[size]["MSE"]) > 0 for size in "123")
    assert "trial 4/4" in out
    measure = [sys.executable, str(ROOT / "train/evaluate.py"), str(folder / "model.keras"), "--json"]
    measure += ["--dataset", "images"]
    measured = subprocess.run(measure, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(measured.stdout)["mse"] > 0
    ended = [json.loads(path.read_text()) for path in folder.glob("trials/trial_*/trial.json")]
    assert sorted(trial["status"] for trial in ended) == ["COMPLETED"] * 3 + ["FAILED"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--latent-dims 8,x", "'8,x' is neither choices"),
        ("--latent-dims 64:8", "'64:8' is neither choices"),
        ("--latent-dims 8:64 --limit 20", "a grid needs choices of latent_dim"),
        ("--model conv_ae --betas 1,2", "a conv_ae has no betas"),
        ("--time-limit 5", "'5' is not a time"),
        ("--search annealing --limit 20", "known are grid, random, bayesian, hyperband"),
    ],
)
@once("flags")
def test_a_mistake_is_one_line(script, flags, message):
    code, _, err = script("tune", "--backend", BACKEND, "--run-dir", "tune", *flags.split())
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
