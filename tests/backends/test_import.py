import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="what JAX does")
def test_importing_the_package_initialises_no_device():
    """So that `jax.distributed.initialize()` works after it."""
    code = (
        "import keras_ae, jax, socket\n"
        "free = socket.socket(); free.bind(('127.0.0.1', 0)); port = free.getsockname()[1]; free.close()\n"
        "jax.distributed.initialize(f'127.0.0.1:{port}', num_processes=1, process_id=0)\n"
        "vae = keras_ae.conv_vae((8, 8, 1), 2, width=4)\n"
        "assert vae.sample(1, seed=0).shape == (1, 8, 8, 1)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
