"""Writes the results of one train step on the backend of the environment: python -m tests.backends.parity OUT."""

import sys

import keras
import numpy as np

from tests.helpers import batch, small_vae

NOISE = np.random.default_rng(5).normal(size=(6, 4)).astype("float32")


def main() -> None:
    results = {}
    for likelihood in ("squared_error", "bernoulli", "gaussian", "gaussian_learned"):
        vae = small_vae(likelihood=likelihood, free_bits=0.05, conditioning="both")
        vae.posterior_noise = lambda shape, training: keras.ops.convert_to_tensor(NOISE)
        vae.compile(keras.optimizers.SGD(1.0))
        start = [keras.ops.convert_to_numpy(weight).copy() for weight in vae.trainable_variables]
        logs = vae.fit(batch(), batch_size=6, shuffle=False, verbose=0).history
        for name, values in logs.items():
            results[f"{likelihood}/{name}"] = values[0]
        for number, (before, weight) in enumerate(zip(start, vae.trainable_variables, strict=True)):
            results[f"{likelihood}/gradient_{number}"] = before - keras.ops.convert_to_numpy(weight)
    results["sample"] = vae.sample(3, seed=1)
    np.savez(sys.argv[1], **results)


if __name__ == "__main__":
    main()
