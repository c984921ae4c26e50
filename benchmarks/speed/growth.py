"""How speed and memory of `VAE.fit` with the default network grow with the image side, the batch and the width.

python benchmarks/speed/growth.py --output growth.png

Each point is measured in a process of its own. It prints a table and draws it. Memory is that of the whole process,
without the images, over a process with a network of width 4 and a batch of one image, which is the framework's own.
"""

import argparse
import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import _contenders
import _fresh
from _networks import default_network
from _setup import flags, parser, prepare

BASE = {"side": 32, "batch": 64, "width": 64}
GROWN = {"side": (32, 64, 96, 128), "batch": (16, 32, 64, 128), "width": (16, 32, 64, 96)}
EPOCHS = 4
ROW = "| {grown} | {side} | {batch} | {width} | {images_per_s:,.0f} | {gflop_per_s:.0f} | {mb:.0f} |"


def work(args) -> dict:
    """One point in this process."""
    import numpy as np

    network = default_network(args.side, args.width, args.batch)
    images = np.random.default_rng(0).integers(0, 256, (args.steps * args.batch, args.side, args.side, 3), "uint8")
    marks = []
    _contenders.keras_ae_fit(
        network, images, args.steps, EPOCHS, lambda score: marks.append(time.perf_counter()), learning_rate=1e-3
    )
    seconds = median(after - before for before, after in pairwise(marks[1:]))  # the first epoch compiles
    return {
        "images_per_s": len(images) / seconds,
        "gflop_per_s": len(images) * network.flop_per_image / seconds / 1e9,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - images.nbytes / 2**20,
    }


def measured(backend: str, point: dict, steps: int) -> dict:
    """The same in a fresh process."""
    sizes = [text for name, value in point.items() for text in (f"--{name}", value)]
    return _fresh.measured(__file__, "--worker", "--backend", backend, "--steps", steps, *sizes)


def draw(rows: list[dict], backend: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for name, (speed, memory) in zip(GROWN, zip(*figure.subplots(2, 3), strict=True), strict=True):
        points = [row for row in rows if row["grown"] == name]
        x = [row[name] for row in points]
        speed.plot(x, [row["gflop_per_s"] for row in points], marker="o")
        speed.set(title=f"{backend}: {name}", ylabel="GFLOP/s in training", ylim=(0, None))
        memory.plot(x, [row["mb"] for row in points], marker="o", color="tab:orange")
        memory.set(xlabel=name, ylabel="MB over the framework", ylim=(0, None))
        for axes in (speed, memory):
            axes.set_xticks(x)
            axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    parse = parser(__doc__)
    flags.add_backend(parse)
    parse.add_argument("--steps", type=flags.positive, default=10, help="batches an epoch")
    parse.add_argument("--output", type=Path, default=Path("growth.png"), metavar="FILE", help="the plot")
    parse.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    for name, value in BASE.items():
        parse.add_argument(f"--{name}", type=flags.positive, default=value, help=argparse.SUPPRESS)
    args = parse.parse_args()
    if args.worker:
        prepare(parse, args.backend, images=False)
        print(json.dumps(work(args)))
        return
    own = measured(args.backend, BASE | {"batch": 1, "width": 4}, steps=1)["mb"]
    rows = []
    print("| grown | side | batch | width | images/s | GFLOP/s | MB |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name, values in GROWN.items():
        for value in values:
            point = BASE | {name: value}
            row = {"grown": name, **point, **measured(args.backend, point, args.steps)}
            row["mb"] -= own
            rows.append(row)
            print(ROW.format(**row), flush=True)
    draw(rows, args.backend, args.output)
    print(f"\nthe framework's own: {own:.0f} MB; written: {args.output}")


if __name__ == "__main__":
    flags.run(main)
