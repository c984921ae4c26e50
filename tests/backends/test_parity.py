"""The same weights and the same noise give the same loss, gradients and samples on every backend; files travel."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.__main__ import BACKENDS
from tests.helpers import small_vae

ROOT = Path(__file__).parent.parent.parent
OTHERS = [name for name in BACKENDS if name != keras.backend.backend()]


def _python(backend: str, *arguments) -> None:
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *map(str, arguments)], env=environment, cwd=ROOT, check=True)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once: it runs the other backends itself")
def test_loss_gradients_and_samples_are_equal_on_all_backends(tmp_path):
    found = {}
    for backend in BACKENDS:
        _python(backend, "-m", "tests.backends.parity", tmp_path / f"{backend}.npz")
        found[backend] = dict(np.load(tmp_path / f"{backend}.npz"))
    assert len(found["jax"]) > 60
    for backend in ("jax", "torch"):
        assert found[backend].keys() == found["tensorflow"].keys()
        for name, expected in found["tensorflow"].items():
            if name == "tokens/sample":  # a share of a probability at the very edge of a token may flip it
                assert (found[backend][name] == expected).all((1, 2)).mean() >= 0.99
                continue
            # A term is a difference of sums, which round as numbers of order 1 do; so is a gradient, of smaller ones.
            scale = max(1.0 if expected.ndim == 0 else 3e-3, np.abs(expected).max())
            tolerance = 1e-3 if name == "flow matching/sample" else 2e-5  # of 40 calls of a network
            np.testing.assert_allclose(found[backend][name] / scale, expected / scale, atol=tolerance, err_msg=name)


LOAD = """
import sys, numpy as np, keras_ae
model = keras_ae.load_model(sys.argv[1])
expected = np.load(sys.argv[2])
np.testing.assert_allclose(model.sample(4, seed=3), expected, atol=1e-5)
assert model.class_names == ["a", "b", "c"]
"""


@pytest.mark.parametrize("other", OTHERS)
def test_a_file_saved_here_samples_on_the_others(tmp_path, other):
    import keras_ae

    vae = small_vae()
    keras_ae.save_model(vae, tmp_path / "vae.keras")
    np.save(tmp_path / "samples.npy", vae.sample(4, seed=3))
    _python(other, "-c", LOAD, tmp_path / "vae.keras", tmp_path / "samples.npy")
