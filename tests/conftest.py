"""The environment of a test process: quiet, and with a cache of its own."""

import importlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))

import _environment

TEMPORARY = Path(tempfile.gettempdir())

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
for threads in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ.setdefault(threads, "1")  # as many processes as cores run at once
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")  # on a GPU: not TensorFloat-32
# On JAX most of a test's time is compiling, and what is compiled runs for moments.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup too, which has it ignored
# Tests compile the same small programs again and again.
_environment.set_variables(compiled=TEMPORARY / "keras_ae-tests-jax", seconds=0.1)
# Not the user's cache; shared by the scripts that the tests start.
os.environ["KERAS_HOME"] = str(TEMPORARY / f"keras_ae-tests-{os.getpid()}")


@pytest.fixture(scope="session", autouse=True)
def keras_home():
    yield Path(os.environ["KERAS_HOME"])
    shutil.rmtree(os.environ["KERAS_HOME"], ignore_errors=True)


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def dataset(tmp_path):
    """Shapes of three classes, 8x8: 64 images to train on, 16 to validate and 10 to test."""
    from keras_ae import data

    shapes = data.load("shapes", cache_dir=tmp_path / "cache", limit=280, image_size=(8, 8))
    labels = shapes.train.arrays["labels"]
    indices = np.concatenate([np.flatnonzero(labels == label)[:30] for label in range(3)])
    parts = [data.Split(shapes.train.arrays, part) for part in (indices[:64], indices[64:80], indices[80:])]
    return data.Dataset("shapes", shapes.class_names[:3], *parts, source="shapes")


@pytest.fixture
def script(monkeypatch, capsys, tmp_path):
    """Runs a script in this process, in an empty folder: `script("vae", ...)` -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", None)  # the scripts set it
    monkeypatch.setattr("socket.socket.connect", _no_network)
    monkeypatch.setattr(_environment, "forget_tensorflow", lambda backend: None)

    def run(name: str, *arguments) -> tuple[int, str, str]:
        cli, module = importlib.import_module("_flags"), importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.run(module.main)
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def _no_network(socket, address):
    raise AssertionError(f"a connection to {address}")
