"""A process of a small training on two devices:

    python -m tests.devices.process FOLDER KIND

In FOLDER it makes a run `whole`. Of the first kind it also makes one `stopped` by a signal to the last process, goes on
with the run `begun`, which one device has begun, and makes one `again` which it stops itself and goes on with. Of the
kind "used" it uses the model `used.keras` instead.
"""

import importlib
import os
import sys
from pathlib import Path

import numpy as np


def main(folder: str, kind: str) -> None:
    backend = os.environ["KERAS_BACKEND"]
    sys.path.insert(0, str(Path(__file__).parent.parent.parent / "train"))
    environment = importlib.import_module("_environment")
    environment.set_environment(None, backend)  # without what Keras imports besides
    environment.forget_tensorflow(backend)
    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from keras_ae import backends
    from tests.devices import member

    backends.start()
    assert backends.world().replicas == 2
    folder = Path(folder)
    if kind == "used":
        results = member.used(folder / "used.keras")
        backends.once(lambda: np.savez(folder / "used.npz", **results))
    else:
        member.run(folder / "whole", kind, epochs=4)
    if kind == member.KINDS[0]:
        member.stop(folder / "stopped", kind)
        member.stop(folder / "again", kind)
        for name in ("again", "begun"):
            member.run(folder / name, kind, epochs=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
