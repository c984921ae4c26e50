"""A network whose weights lie on several devices, each a part, on JAX:

    python -m tests.devices.sharded FOLDER DEVICES

trains and saves it, goes on from its checkpoint, and says how large the parts are.
"""

import importlib
import math
import os
import sys
from pathlib import Path

LAYOUT = {  # which axis of a kernel is shared out: the same as in docs/scale.md
    r"conv2d.*/kernel": (None, None, None, "model"),
    r"dense.*/kernel": (None, "model"),
    r"z_.*/kernel": ("model", None),
    r"output.*/kernel": (None, None, None, "model"),
}


def main(folder: str, devices: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent.parent / "train"))
    environment = importlib.import_module("_environment")
    environment.set_environment(None, os.environ["KERAS_BACKEND"])
    environment.forget_tensorflow(os.environ["KERAS_BACKEND"])
    import keras

    import keras_ae
    from tests.devices import member
    from tests.helpers import set_weights

    mesh = keras.distribution.DeviceMesh(
        (1, int(devices)), ["batch", "model"], [f"cpu:{n}" for n in range(int(devices))]
    )
    layout = keras.distribution.LayoutMap(mesh)
    for path, axes in LAYOUT.items():
        layout[path] = axes
    for epochs in (1, 2):
        keras.utils.clear_session()
        with keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch").scope():
            vae = keras_ae.conv_vae((8, 8, 3), latent_dim=4, width=4, seed=1)
            set_weights(vae.trainable_weights)
            vae.compile(keras.optimizers.Adam(1e-2))
            vae.optimizer.build(vae.trainable_variables)
        keras_ae.train(
            vae, member.dataset(), Path(folder), epochs=epochs, batch_size=8, verbose=False,
            output=Path(folder) / f"model_{epochs}.keras",
        )  # fmt: skip
    for weight in [*vae.trainable_variables, *vae.optimizer.variables]:
        part = math.prod(weight.value.addressable_shards[0].data.shape)
        print(weight.path, math.prod(weight.shape) // part)


if __name__ == "__main__":
    main(*sys.argv[1:])
