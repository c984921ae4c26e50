"""Where the time of a training step goes: `VAE.fit` on the reference network, and what is saved by leaving a part out.

python benchmarks/speed/step.py --backend jax

All in one process, in turns: each variant trains an epoch of `--steps` batches, `--rounds` times. The first round is
not counted.
"""

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import _contenders
from _networks import NETWORKS, keras_networks
from _setup import environment, flags, parser, prepare


def variants(network, stop) -> dict:
    """Name -> (model, batches, callbacks)."""
    import keras
    import numpy as np

    from keras_ae import VAE, Muon, backends, callbacks, data
    from keras_ae.data.batches import TrainingBatches

    class WithoutMetrics(VAE):
        def update_metrics(self, *args, **kwargs):
            pass

    class OneBatch(TrainingBatches):
        def __getitem__(self, index):
            return ready

    def model(kind=VAE, optimizer=keras.optimizers.Adam):
        vae = kind(*keras_networks(network))
        vae.compile(optimizer(1e-3))
        return vae

    images = np.random.default_rng(0).integers(0, 256, (10_000, network.side, network.side, 3), "uint8")
    split = data.Split({"images": images, "labels": np.zeros(len(images), "int32")}, np.arange(len(images)))
    batches = data.training_batches(split, network.batch_size, endless=True)
    ready = TrainingBatches(split, network.batch_size, seed=0, start=(0, 0), flip=False)[0]
    same = backends.feed(OneBatch(split, network.batch_size, seed=0, start=(0, 0), flip=False))
    shown = [callbacks.Progress(), stop]
    return {
        "fit": (model(), batches, shown),
        "no metrics": (model(WithoutMetrics), batches, shown),
        "one batch, ready": (model(), same, shown),
        "no callbacks": (model(), batches, []),
        "SGD instead of Adam": (model(optimizer=keras.optimizers.SGD), batches, shown),
        "Muon instead of Adam": (model(optimizer=Muon), batches, shown),
    }


def measured(trained: dict, steps: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of each variant in each round."""
    times = {name: [] for name in trained}
    for _ in range(rounds + 1):
        for name, (model, batches, callbacks) in trained.items():
            marks = []
            tick = _contenders.ticks(lambda score, marks=marks: marks.append(time.perf_counter()), None)
            model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[tick, *callbacks])
            times[name].append(1000 * (marks[1] - marks[0]) / steps)
    return {name: counted for name, (_, *counted) in times.items()}


def main() -> None:
    parse = parser(__doc__)
    flags.add_backend(parse)
    parse.add_argument("--steps", type=flags.positive, default=15, help="batches an epoch")
    parse.add_argument("--rounds", type=flags.positive, default=7, help="epochs of each variant")
    args = parse.parse_args()
    environment.restart_with_allocator()
    prepare(parse, args.backend, images=False)
    from keras_ae.callbacks import StopOnSignal

    with StopOnSignal() as stop, redirect_stdout(sys.stderr):
        times = measured(variants(NETWORKS["reference"], stop), args.steps, args.rounds)
    print(f"{args.backend}, ms a step, medians of {args.rounds}\n\n| | ms (range) | saves |\n| --- | --- | --- |")
    for name, runs in times.items():
        saved = median(whole - part for whole, part in zip(times["fit"], runs, strict=True))
        print(f"| {name} | {median(runs):.1f} ({min(runs):.1f} to {max(runs):.1f}) | {saved:.1f} |")


if __name__ == "__main__":
    flags.run(main)
