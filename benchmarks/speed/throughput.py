"""Training speed of keras_ae, stock Keras, hand-written loops and pythae on the same networks.

python benchmarks/speed/throughput.py --network reference

Each run is a process of its own. The contenders take turns, `--rounds` times. An epoch is `--steps` batches. The first
one compiles and is reported apart. The images are random: the arithmetic does not depend on what they show. All
contenders have the allocator settings of the training scripts, or with `--no-allocator` none of them. A contender
whose own runs lie more than a quarter apart is not reported: the machine was not quiet.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import _fresh
from _contenders import CONTENDERS
from _networks import NETWORKS
from _setup import flags, parser, prepare

TARGETS = [
    ("keras_ae tensorflow", "pythae", 1.15),
    ("keras_ae torch", "torch loop", 0.95),
    ("keras_ae jax", "jax loop", 2.2),
    ("keras_ae jax", "keras_ae tensorflow", 0.6),
]
EPOCHS = 5
SPREAD = 0.25  # of the median, between a contender's slowest and fastest run
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def work(function, network, steps: int, count: int) -> dict:
    """One contender in this process."""
    import numpy as np

    count = max(steps * network.batch_size, count)
    images = np.random.default_rng(0).integers(0, 256, (count, network.side, network.side, 3), "uint8")
    marks = []
    function(network, images, steps, EPOCHS, lambda score: marks.append(time.perf_counter()), 1e-3)
    first, *others = [after - before for before, after in pairwise(marks)]
    rates = [steps * network.batch_size / seconds for seconds in others]
    return {
        "images_per_s": median(rates),
        "slowest_epoch_ratio": median(rates) / min(rates),
        "first_epoch_s": first,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measured(args, contender: str) -> dict:
    """The same in a fresh process."""
    sizes = ("--network", args.network, "--steps", args.steps, "--images", args.images, "--precision", args.precision)
    return _fresh.measured(__file__, "--contender", contender, *sizes, allocator=args.allocator)


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


def processor() -> str:
    """Its name, its cores, and the instruction sets that matter here."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    sets = [name for name in INSTRUCTIONS if name in lines.get("flags", "").split()]
    name = lines.get("model name") or platform.processor()
    return f"{name}, {os.cpu_count()} cores, {', '.join(sets) or 'none of ' + ', '.join(INSTRUCTIONS)}"


def main() -> None:
    parse = parser(__doc__)
    parse.add_argument("--network", choices=NETWORKS, default="reference", help="what all train")
    parse.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME", help=f"some of {', '.join(CONTENDERS)}")
    precisions = ("float32", "mixed_bfloat16")
    parse.add_argument("--precision", choices=precisions, default="float32", help="of all but pythae, which has one")
    parse.add_argument("--rounds", type=flags.positive, default=5, help="runs of each contender")
    parse.add_argument("--steps", type=flags.positive, default=40, help="batches an epoch")
    parse.add_argument("--images", type=flags.positive, default=10_000, help="in memory")
    allocator = "the allocator settings of the training scripts, for all contenders"
    parse.add_argument("--allocator", action=argparse.BooleanOptionalAction, default=True, help=allocator)
    parse.add_argument("--json", action="store_true", help="every run as JSON instead of a table")
    parse.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parse.parse_args()
    network = replace(NETWORKS[args.network], precision=args.precision)
    if args.contender:
        function, backend = CONTENDERS[args.contender]
        prepare(parse, backend, images=False)
        print(json.dumps(work(function, network, args.steps, args.images)))
        return
    known = [name for name in CONTENDERS if name != "pythae" or (args.precision == "float32" and find_spec("pythae"))]
    names = args.only or known
    runs, limits = {name: [] for name in names}, []
    for number in range(args.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(measured(args, name))
        limits.append(matrix_product())
    if args.json:
        settings = {"network": args.network, "precision": args.precision, "allocator": args.allocator}
        settings |= {"processor": processor(), "gflop_per_s": limits}
        print(json.dumps(settings | {"runs": runs}, indent=1))
        return
    print(f"{processor()}; {args.precision}")
    print(f"allocator: {'the settings of the training scripts' if args.allocator else 'as the system has it'}, for all")
    table(network, runs, median(limits))
    ratios(runs)


def table(network, runs: dict[str, list], limit: float) -> None:
    print(f"matrix product: {limit:.0f} GFLOP/s; {network.flop_per_image / 1e6:.1f} MFLOP an image\n")
    print("| | images/s (runs) | of the limit | slowest epoch | first epoch | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, results in runs.items():
        rates = [run["images_per_s"] for run in results]
        if not quiet(results):
            print(f"| {name} | not reported: runs from {min(rates):,.0f} to {max(rates):,.0f} | | | | |")
            continue
        share = median(rates) * network.flop_per_image / limit / 1e9
        slowest = max(run["slowest_epoch_ratio"] for run in results)
        first = median(run["first_epoch_s"] for run in results)
        peak = median(run["peak_mb"] for run in results)
        speed = f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"| {name} | {speed} | {share:.0%} | {slowest:.2f}x | {first:.1f} s | {peak:.0f} MB |")


def quiet(results: list[dict]) -> bool:
    """Whether a contender's runs are close enough to one another to say something."""
    rates = [run["images_per_s"] for run in results]
    return max(rates) - min(rates) <= SPREAD * median(rates)


def ratios(runs: dict[str, list]) -> None:
    print("\nratios, run by run:")
    for ours, theirs, target in TARGETS:
        if not all(name in runs and quiet(runs[name]) for name in (ours, theirs)):
            continue
        pairs = zip(runs[ours], runs[theirs], strict=True)
        values = [own["images_per_s"] / other["images_per_s"] for own, other in pairs]
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"  {ours} / {theirs}: {median(values):.2f} ({spread}), target {target}")


if __name__ == "__main__":
    flags.run(main)
