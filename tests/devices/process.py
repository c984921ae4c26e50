"""A process of a small training on two devices:

    python -m tests.devices.process FOLDER KIND

In FOLDER it makes a run `whole`. Of the first kind it also makes one `stopped` by a signal to the last process, and
goes on with the run `begun`, which one device has begun.
"""

import importlib
import os
import sys
from pathlib import Path


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
    member.run(Path(folder) / "whole", kind, epochs=4)
    if kind == member.KINDS[0]:
        member.stop(Path(folder) / "stopped", kind)
        member.run(Path(folder) / "begun", kind, epochs=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
