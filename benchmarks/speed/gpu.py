"""Whether the backends train and agree on this machine's GPU, and how fast they are beside loops by hand.

python benchmarks/speed/gpu.py --output gpu

One command of at most eight minutes. It takes the backends that are installed, and writes `gpu.json` and the table
`gpu.md`. Each figure is from one process, after an epoch that compiles. "Busy" is the share of the time in which the
GPU ran anything, as `nvidia-smi` samples it; memory is all that is taken on the GPU. With `--smoke` it takes a few
steps on whatever there is.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

sys.path.insert(0, str(Path(__file__).parents[1]))

import _fresh
from _contenders import CONTENDERS
from _networks import NETWORKS
from _setup import environment, flags, parser, prepare
from throughput import processor

MINUTES = 8
LOOPS = {"keras_ae torch": "torch loop", "keras_ae jax": "jax loop"}
# contender -> the backend or framework that it needs
NEEDED = {f"keras_ae {backend}": backend for backend in environment.BACKENDS}
NEEDED |= {loop: NEEDED[ours] for ours, loop in LOOPS.items()}
RUNS = [(network, precision) for network in ("reference", "default96") for precision in ("float32", "mixed_bfloat16")]
EPOCHS = 4
APART = 0.02  # of the range of a pixel, at most, between two backends: TensorFloat-32 has 10 bits
HEAD = """| | network | precision | images/s | of the loop by hand | busy | memory |
| --- | --- | --- | --- | --- | --- | --- |"""


def checked(steps: int) -> dict:
    """What this process's backend makes of given weights, and whether a training lowers the loss."""
    import keras
    import numpy as np

    import keras_ae
    from keras_ae import data, training

    training.prepare("float32", 0)
    shapes = data.load("shapes", limit=2000)
    vae = keras_ae.conv_vae(shapes.image_shape, 16)
    random = np.random.default_rng(0)
    vae.set_weights([random.normal(0, 0.05, weight.shape).astype("float32") for weight in vae.weights])
    images = shapes.test.batch(slice(0, 16))["image"]
    z_mean, _ = vae.encode(images)
    decoded = vae.decode(random.standard_normal((16, 16)).astype("float32"))
    vae = keras_ae.conv_vae(shapes.image_shape, 16, seed=0)
    vae.compile(keras_ae.optimizers.recipe(steps, 3))
    batches = data.training_batches(shapes.train, 64, endless=True)
    losses = vae.fit(batches, steps_per_epoch=steps, epochs=3, shuffle=False, verbose=0).history["loss"]
    return {
        "device": _device(keras.backend.backend()),
        "encoded": np.asarray(z_mean).ravel().tolist(),
        "decoded": np.asarray(decoded)[:, ::4, ::4].ravel().tolist(),
        "losses": losses,
    }


def _device(backend: str) -> str:
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "CPU"


def timed(contender: str, network, steps: int) -> dict:
    """One contender in this process."""
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (10_000, network.side, network.side, 3), "uint8")
    marks, clock = [], []

    def tick(score):
        marks.append(time.perf_counter())
        clock.append(time.time())

    function, _ = CONTENDERS[contender]
    function(network, images, steps, EPOCHS, tick, 1e-3)
    seconds = [after - before for before, after in pairwise(marks)]
    rate = steps * network.batch_size / median(seconds[1:])
    return {"images_per_s": rate, "first_epoch_s": seconds[0], "began": clock[1], "ended": clock[-1]}


class Samples:
    """What `nvidia-smi` says of the first GPU, ten times a second; nothing where there is none."""

    def __enter__(self):
        self.rows = []
        self.process = None
        if shutil.which("nvidia-smi"):
            query = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
            self.process = subprocess.Popen(["nvidia-smi", "-i", "0", *query], stdout=subprocess.PIPE, text=True)
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self):
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):  # [N/A]
                busy, megabytes = map(float, line.split(","))
                self.rows.append((time.time(), busy, megabytes))

    def between(self, began: float, ended: float) -> dict:
        rows = [row for row in self.rows if began <= row[0] <= ended]
        return {"busy": mean(row[1] for row in rows) / 100, "mb": max(row[2] for row in rows)} if rows else {}

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()


def measured(installed: list[str], steps: int) -> dict:
    """All checks and timings that the time allows."""
    end = time.monotonic() + 60 * MINUTES
    results = {"processor": processor(), "checks": {}, "runs": []}
    for backend in installed:
        results["checks"][backend] = _fresh.measured(__file__, "--check", backend, "--steps", steps)
        print(f"{backend}: trained on {results['checks'][backend]['device']}", file=sys.stderr, flush=True)
    slowest = 0.0
    with Samples() as samples:
        for network, precision in RUNS:
            for contender, needed in NEEDED.items():
                if needed not in installed:
                    continue
                if time.monotonic() + slowest > end:
                    return results
                started = time.monotonic()
                command = ("--contender", contender, "--network", network, "--precision", precision, "--steps", steps)
                run = _fresh.measured(__file__, *command)
                slowest = max(slowest, time.monotonic() - started)
                run |= samples.between(run.pop("began"), run.pop("ended"))
                results["runs"].append({"contender": contender, "network": network, "precision": precision, **run})
                print(f"{contender}, {network}, {precision}: {run['images_per_s']:,.0f}", file=sys.stderr, flush=True)
    return results


def report(results: dict) -> str:
    import numpy as np

    checks = results["checks"]
    lines = [results["processor"], ""]
    lines += [
        f"- {backend}: {check['device']}, loss {' to '.join(f'{loss:.1f}' for loss in check['losses'][::2])}"
        for backend, check in checks.items()
    ]
    for one, other in pairwise(checks):
        apart = {
            name: float(np.abs(np.subtract(checks[one][name], checks[other][name])).max())
            for name in ("encoded", "decoded")
        }
        verdict = "agree" if max(apart.values()) < APART else "DIFFER"
        lines.append(
            f"- {one} and {other} {verdict}: codes by {apart['encoded']:.1e}, images by {apart['decoded']:.1e}"
        )
    rates = {(run["network"], run["precision"], run["contender"]): run["images_per_s"] for run in results["runs"]}
    lines += ["", HEAD]
    for run in results["runs"]:
        loop = rates.get((run["network"], run["precision"], LOOPS.get(run["contender"])))
        cells = [run["contender"], run["network"], run["precision"], f"{run['images_per_s']:,.0f}"]
        cells.append(f"{run['images_per_s'] / loop:.2f}" if loop else "")
        cells += [f"{run['busy']:.0%}", f"{run['mb']:,.0f} MB"] if "busy" in run else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    missing = len(RUNS) * len(NEEDED) - len(results["runs"])
    return "\n".join([*lines, "", f"{missing} runs were left out: not installed, or no time"] if missing else lines)


def main() -> None:
    parse = parser(__doc__)
    add = parse.add_argument
    add("--output", type=Path, default=Path("gpu"), metavar="NAME", help="of the two files, without an ending")
    add("--steps", type=flags.positive, default=200, help="batches an epoch")
    add("--smoke", action="store_true", help="two steps an epoch, to see that everything runs")
    add("--check", choices=environment.BACKENDS, help=argparse.SUPPRESS)
    add("--contender", choices=NEEDED, help=argparse.SUPPRESS)
    add("--network", choices=NETWORKS, help=argparse.SUPPRESS)
    add("--precision", help=argparse.SUPPRESS)
    args = parse.parse_args()
    steps = 2 if args.smoke else args.steps
    if args.check:
        prepare(parse, args.check)
        print(json.dumps(checked(steps)))
        return
    if args.contender:
        prepare(parse, CONTENDERS[args.contender][1], images=False)
        network = replace(NETWORKS[args.network], precision=args.precision)
        print(json.dumps(timed(args.contender, network, steps)))
        return
    results = measured([backend for backend in environment.BACKENDS if find_spec(backend)], steps)
    args.output.with_suffix(".json").write_text(json.dumps(results, indent=1))
    text = report(results)
    args.output.with_suffix(".md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    flags.run(main)
