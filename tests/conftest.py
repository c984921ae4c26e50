"""The environment of a test process: quiet, and with a cache of its own."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
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
