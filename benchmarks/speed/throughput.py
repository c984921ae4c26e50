"""Training speed of keras_ae, stock Keras, hand-written loops and pythae on the same networks.

python benchmarks/throughput.py --network reference

Every run is a process of its own; the contenders take turns, `--rounds` times. An epoch is `--steps` batches; the
first, which compiles, is reported apart. Random images: the arithmetic does not depend on what they show. keras_ae runs
with the allocator settings of its scripts, the others as they come, unless `--allocator` gives all of them the same.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median

import _contenders
from _networks import NETWORKS

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))
import _environment

TARGETS = [
    ("keras_ae tensorflow", "pythae", 1.15),
    ("keras_ae torch", "torch loop", 0.95),
    ("keras_ae jax", "jax loop", 2.2),
    ("keras_ae jax", "keras_ae tensorflow", 0.6),
]
EPOCHS = 5


def work(args) -> dict:
    """One contender in this process."""
    network = NETWORKS[args.network]
    function, backend = _contenders.CONTENDERS[args.contender]
    _contenders.prepare(backend)
    import numpy as np

    count = max(args.steps * network.batch_size, args.images)
    images = np.random.default_rng(0).integers(0, 256, (count, network.side, network.side, 3), "uint8")
    marks = []
    function(network, images, args.steps, EPOCHS, lambda score: marks.append(time.perf_counter()), 1e-3)
    seconds = [after - before for before, after in pairwise(marks)]
    rates = [args.steps * network.batch_size / each for each in seconds[1:]]
    return {
        "images_per_s": median(rates),
        "slowest_epoch_ratio": median(rates) / min(rates),
        "first_epoch_s": seconds[0],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def matrix_product() -> float:
    """GFLOP/s of a 2048 x 2048 x 2048 float32 matrix product, the limit of all."""
    import torch

    a = torch.ones(2048, 2048)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return 2 * 2048**3 / median(seconds[1:]) / 1e9


def started(args, contender: str) -> dict:
    """The same in a fresh process."""
    environment = dict(os.environ)
    if contender.startswith("keras_ae ") or args.allocator:
        environment["GLIBC_TUNABLES"] = _environment.ALLOCATOR
    command = [
        sys.executable,
        __file__,
        "--contender",
        contender,
        "--network",
        args.network,
        "--steps",
        str(args.steps),
    ]
    done = subprocess.run([*command, "--images", str(args.images)], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{contender} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="reference")
    parser.add_argument(
        "--only", nargs="+", choices=_contenders.CONTENDERS, metavar="NAME", help="some of the contenders"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender")
    parser.add_argument("--steps", type=int, default=40, help="batches an epoch")
    parser.add_argument("--images", type=int, default=10_000, help="in memory")
    parser.add_argument("--allocator", action="store_true", help="the allocator settings of keras_ae's scripts for all")
    parser.add_argument("--json", action="store_true", help="every run as JSON instead of a table")
    parser.add_argument("--contender", choices=_contenders.CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(work(args)))
        return
    names = args.only or [name for name in _contenders.CONTENDERS if name != "pythae" or find_spec("pythae")]
    runs, limits = {name: [] for name in names}, []
    for number in range(args.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            runs[name].append(started(args, name))
        limits.append(matrix_product())
    if not args.json:
        print(
            "allocator: "
            + ("the same settings for all" if args.allocator else "keras_ae's scripts' for keras_ae alone")
        )
    if args.json:
        print(json.dumps({"network": args.network, "gflop_per_s": limits, "runs": runs}, indent=1))
    else:
        table(NETWORKS[args.network], runs, median(limits))


def table(network, runs: dict, limit: float) -> None:
    print(f"matrix product: {limit:.0f} GFLOP/s; {network.flop_per_image / 1e6:.1f} MFLOP an image\n")
    print("| | images/s (runs) | of the limit | slowest epoch | first epoch | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, found in runs.items():
        middle = {key: median(run[key] for run in found) for key in found[0]}
        rate = middle["images_per_s"]
        print(
            f"| {name} | {rate:,.0f} ({min(run['images_per_s'] for run in found):,.0f} to "
            f"{max(run['images_per_s'] for run in found):,.0f}) | {rate * network.flop_per_image / limit / 1e9:.0%} | "
            f"{max(run['slowest_epoch_ratio'] for run in found):.2f}x | {middle['first_epoch_s']:.1f} s | "
            f"{middle['peak_mb']:.0f} MB |"
        )
    print("\nratios, run by run:")
    for ours, theirs, target in TARGETS:
        if ours in runs and theirs in runs:
            pairs = zip(runs[ours], runs[theirs], strict=True)
            ratios = [a["images_per_s"] / b["images_per_s"] for a, b in pairs]
            print(
                f"  {ours} / {theirs}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), target {target}"
            )


if __name__ == "__main__":
    main()
