"""Images/s of the batches alone, without a model, and of a training step beside them.

python benchmarks/speed/feed.py --backend tensorflow

Each kind of batch is made and fed to nobody, in turns, for `--seconds` each, and so is a step of the
network, on one batch again and again.
"""

import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from _networks import NETWORKS, keras_networks
from _setup import environment, flags, parser, prepare

KINDS = {  # name -> (what `training_batches` takes, the task, whether images are grey and drawn as 0 and 1)
    "images": ({}, None, False),
    "mirrored": ({"flip": True}, None, False),
    "drawn as 0 and 1, grey": ({}, None, True),
    "with noise": ({}, "denoise", False),
    "with missing pixels": ({}, "complete", False),
}


def main() -> None:
    parse = parser(__doc__)
    flags.add_backend(parse)
    parse.add_argument("--network", choices=NETWORKS, default="default32", help="its sides, batches and step")
    parse.add_argument("--seconds", type=flags.positive, default=3, help="of each kind, each time")
    parse.add_argument("--rounds", type=flags.positive, default=5, help="how often")
    args = parse.parse_args()
    environment.restart_with_allocator()
    prepare(parse, args.backend, images=False)
    network = NETWORKS[args.network]
    sources = {name: batches(network, *kind) for name, kind in KINDS.items()}
    speeds = {name: [] for name in (*sources, "a step")}
    step = trained(network, batches(network, {}, None, False))
    for _ in range(args.rounds + 1):
        for name, source in sources.items():
            speeds[name].append(fed(source, args.seconds))
        speeds["a step"].append(step(args.seconds))
    speeds = {name: counted for name, (_, *counted) in speeds.items()}  # the first round is a warm-up
    print(
        f"{args.network}, {args.backend}, {args.rounds} rounds\n\n| | images/s (range) | steps |\n| --- | --- | --- |"
    )
    for name, values in speeds.items():
        ratios = median(a / b for a, b in zip(values, speeds["a step"], strict=True))
        print(f"| {name} | {median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f}) | {ratios:.1f} |")


def batches(network, settings: dict, task: str | None, binarized: bool):
    """An endless stream of batches, of images in memory."""
    import numpy as np

    import keras_ae
    from keras_ae import data

    shape = (network.side, network.side, 1 if binarized else 3)
    images = np.random.default_rng(0).integers(0, 256, (20_000, *shape), "uint8")
    split = data.Split({"images": images, "labels": np.zeros(len(images), "int32")}, np.arange(len(images)))
    if binarized:
        split = data.Dataset("greys", [], split, split, split, source="greys").binarized().train
    task = task and keras_ae.get_task(task)
    return iter(data.training_batches(split, network.batch_size, task=task, endless=True, **settings))


def fed(source, seconds: float) -> float:
    """Images/s."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        batch = next(source)
        count += len(batch["image"] if isinstance(batch, dict) else batch[1])
    return count / (time.perf_counter() - start)


def trained(network, source):
    """Function of seconds -> images/s of training steps on one batch after another, each waited for."""
    import keras

    from keras_ae import VAE

    vae = VAE(*keras_networks(network))
    vae.compile(keras.optimizers.Adam(1e-3))
    batch = next(source)

    def images(seconds: float) -> float:
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            vae.train_on_batch(batch)
            count += network.batch_size
        return count / (time.perf_counter() - start)

    return images


if __name__ == "__main__":
    flags.run(main)
