"""The environment of a test process: quiet, and with a cache of its own."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Tests compile the same small programs again and again.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "keras_ae-tests-jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Not the user's cache; shared by the scripts that the tests start.
os.environ["KERAS_HOME"] = str(Path(tempfile.gettempdir()) / f"keras_ae-tests-{os.getpid()}")

import shutil

import numpy as np
import pytest


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
