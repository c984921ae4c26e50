"""Where the time of a training step goes: `VAE.fit` on the reference network, and what it saves to leave something out.

python benchmarks/step.py --backend jax

In one process, in turns: each variant trains an epoch of `--steps` batches, `--rounds` times; the first is not counted.
"""

import argparse
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

import _contenders
from _networks import NETWORKS, keras_networks

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))
import _environment
import _flags


def variants(network, stop) -> dict:
    """Name -> (model, batches, callbacks)."""
    import keras
    import numpy as np

    from keras_ae import VAE, backends, callbacks, data

    class WithoutMetrics(VAE):
        def update_metrics(self, *args, **kwargs):
            pass

    class Same(data.batches.TrainingBatches):
        def __getitem__(self, index):
            return ready

    def model(kind=VAE, optimizer=keras.optimizers.Adam):
        vae = kind(*keras_networks(network))
        vae.compile(optimizer(1e-3))
        return vae

    images = np.random.default_rng(0).integers(0, 256, (10_000, network.side, network.side, 3), "uint8")
    split = data.Split({"images": images, "labels": np.zeros(len(images), "int32")}, np.arange(len(images)))
    batches = data.training_batches(split, network.batch_size)
    stream = data.batches.TrainingBatches(split, network.batch_size, 0, (0, 0), False)
    ready = stream[0]
    same = backends.feed(Same(split, network.batch_size, 0, (0, 0), False))
    shown = [callbacks.Progress(), stop]
    return {
        "fit": (model(), batches, shown),
        "no metrics": (model(WithoutMetrics), batches, shown),
        "one batch, ready": (model(), same, shown),
        "no callbacks": (model(), batches, []),
        "SGD instead of Adam": (model(optimizer=keras.optimizers.SGD), batches, shown),
    }


def measured(trained: dict, steps: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of each variant in each round."""
    found = {name: [] for name in trained}
    for _ in range(rounds + 1):
        for name, (model, batches, callbacks) in trained.items():
            marks = []
            tick = _contenders._ticks(lambda score, marks=marks: marks.append(time.perf_counter()), None)
            model.fit(batches, steps_per_epoch=steps, verbose=0, callbacks=[tick, *callbacks])
            found[name].append(1000 * (marks[1] - marks[0]) / steps)
    return {name: times[1:] for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=_flags.BACKENDS, default="tensorflow")
    parser.add_argument("--steps", type=int, default=15, help="batches an epoch")
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each")
    args = parser.parse_args()
    _environment.restart_with_allocator()
    _contenders.prepare(args.backend)
    from keras_ae.callbacks import StopOnSignal

    with StopOnSignal() as stop, redirect_stdout(sys.stderr):
        found = measured(variants(NETWORKS["reference"], stop), args.steps, args.rounds)
    print(f"{args.backend}, ms a step, medians of {args.rounds}\n\n| | ms (range) | saves |\n| --- | --- | --- |")
    for name, times in found.items():
        saved = median(whole - each for whole, each in zip(found["fit"], times, strict=True))
        print(f"| {name} | {median(times):.1f} ({min(times):.1f} to {max(times):.1f}) | {saved:.1f} |")


if __name__ == "__main__":
    main()
