"""How speed and memory of `VAE.fit` with the default network grow with the image side, the batch and the width.

python benchmarks/growth.py --output growth.png

One process for each point; prints a table and draws it. Memory is that of the whole process, without the images, over a
process with a network of width 4 and a batch of one image, which is the framework's own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import _contenders
from _networks import default_network

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))
import _environment
import _flags

BASE = {"side": 32, "batch": 64, "width": 64}
GROWN = {"side": (32, 64, 96, 128), "batch": (16, 32, 64, 128), "width": (16, 32, 64, 96)}
EPOCHS = 4


def work(args) -> dict:
    """One point in this process."""
    function, backend = _contenders.CONTENDERS[f"keras_ae {args.backend}"]
    _contenders.prepare(backend)
    import numpy as np

    network = default_network(args.side, args.width, args.batch)
    images = np.random.default_rng(0).integers(0, 256, (args.steps * args.batch, args.side, args.side, 3), "uint8")
    marks = []
    function(network, images, args.steps, EPOCHS, lambda score: marks.append(time.perf_counter()), 1e-3)
    seconds = median(after - before for before, after in pairwise(marks[1:]))  # the first epoch compiles
    return {
        "images_per_s": len(images) / seconds,
        "gflop_per_s": len(images) * network.flop_per_image / seconds / 1e9,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - images.nbytes / 2**20,
    }


def started(backend: str, point: dict, steps: int) -> dict:
    command = [sys.executable, __file__, "--worker", "--backend", backend, "--steps", str(steps)]
    command += [text for name, value in point.items() for text in (f"--{name}", str(value))]
    done = subprocess.run(
        command,
        env=os.environ | {"GLIBC_TUNABLES": _environment.ALLOCATOR},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def draw(rows: list[dict], backend: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for column, (axes, memory) in enumerate(zip(*figure.subplots(2, 3), strict=True)):
        name = list(GROWN)[column]
        found = [row for row in rows if row["grown"] == name]
        x = [row[name] for row in found]
        axes.plot(x, [row["gflop_per_s"] for row in found], marker="o")
        axes.set(title=f"{backend}: {name}", ylabel="GFLOP/s in training", ylim=(0, None))
        memory.plot(x, [row["mb"] for row in found], marker="o", color="tab:orange")
        memory.set(xlabel=name, ylabel="MB over the framework", ylim=(0, None))
        for each in (axes, memory):
            each.set_xticks(x)
            each.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=_flags.BACKENDS, default="tensorflow")
    parser.add_argument("--steps", type=int, default=10, help="batches an epoch")
    parser.add_argument("--output", type=Path, default=Path("growth.png"), help="the plot")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    for name, value in BASE.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(args)))
        return
    own = started(args.backend, BASE | {"batch": 1, "width": 4}, 1)["mb"]
    rows = []
    print("| grown | side | batch | width | images/s | GFLOP/s | MB |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name, values in GROWN.items():
        for value in values:
            point = BASE | {name: value}
            row = {"grown": name, **point, **started(args.backend, point, args.steps)}
            row["mb"] -= own
            rows.append(row)
            print(
                "| {grown} | {side} | {batch} | {width} | {images_per_s:,.0f} | {gflop_per_s:.0f} | {mb:.0f} |".format(
                    **row
                )
            )
    draw(rows, args.backend, args.output)
    print(f"\nthe framework's own: {own:.0f} MB; written: {args.output}")


if __name__ == "__main__":
    main()
