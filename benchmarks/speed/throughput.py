"""Training speed of keras_ae, stock Keras, hand-written loops and pythae on the same networks.

python benchmarks/speed/throughput.py --network reference

Each contender is a process of its own. They train in turns: an epoch of `--steps` batches each, while the others wait.
So a machine whose speed changes is the same for all. A round is five turns, and gives their median. Ratios are those
of neighbouring turns. The first epoch compiles and is reported apart; two more warm up. The images are random: the
arithmetic does not depend on what they show. All contenders have the allocator settings of the training scripts, or
with `--no-allocator` none of them. A contender whose own rounds lie more than a quarter apart is not reported: the
machine was not quiet.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import _fresh
from _contenders import CONTENDERS
from _networks import NETWORKS
from _setup import flags, parser, prepare

TARGETS = [
    ("keras_ae tensorflow", "pythae", 1.05),
    ("keras_ae torch", "torch loop", 1.0),
    ("keras_ae jax", "jax loop", 2.2),
    ("keras_ae jax", "keras_ae tensorflow", 0.7),
]
TURNS = 5  # of a round
WARMUP = 3  # epochs that are not counted
SPREAD = 0.25  # of the median, between a contender's slowest and fastest round
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def work(function, network, steps: int, count: int, epochs: int) -> None:
    """One contender in this process: waits for a line before each epoch, answers with its seconds, and at the end with
    the peak of its memory."""
    import numpy as np

    count = max(steps * network.batch_size, count)
    images = np.random.default_rng(0).integers(0, 256, (count, network.side, network.side, 3), "uint8")
    answers, started = sys.stdout, 0.0

    def turn(score):
        nonlocal started
        if started:
            print(time.perf_counter() - started, file=answers, flush=True)
        sys.stdin.readline()
        started = time.perf_counter()

    with redirect_stdout(sys.stderr):
        function(network, images, steps, epochs, turn, 1e-3)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def measured(args, names: list[str], images: int) -> dict[str, dict]:
    """Images/s of each turn of each contender, `first_epoch_s` and `peak_mb`. `images` are those of an epoch."""
    sizes = ("--network", args.network, "--steps", args.steps, "--images", args.images, "--precision", args.precision)
    command = (__file__, "--rounds", args.rounds, *sizes, "--contender")
    workers = {name: _fresh.Turns(*command, name, allocator=args.allocator) for name in names}
    runs = {name: {"first_epoch_s": worker.turn(), "images_per_s": []} for name, worker in workers.items()}
    for worker in workers.values():
        for _ in range(WARMUP - 1):
            worker.turn()
    for number in range(args.rounds * TURNS):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            runs[name]["images_per_s"].append(images / workers[name].turn())
    for name, worker in workers.items():
        runs[name]["peak_mb"] = worker.turn()
    return runs


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
    parse.add_argument("--rounds", type=flags.positive, default=5, help="of five epochs of each contender")
    parse.add_argument("--steps", type=flags.positive, default=40, help="batches an epoch")
    parse.add_argument("--images", type=flags.positive, default=10_000, help="in memory")
    allocator = "the allocator settings of the training scripts, for all contenders"
    parse.add_argument("--allocator", action=argparse.BooleanOptionalAction, default=True, help=allocator)
    parse.add_argument("--json", action="store_true", help="every turn as JSON instead of a table")
    parse.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parse.parse_args()
    network = replace(NETWORKS[args.network], precision=args.precision)
    if args.contender:
        function, backend = CONTENDERS[args.contender]
        prepare(parse, backend, images=False)
        work(function, network, args.steps, args.images, WARMUP + args.rounds * TURNS)
        return
    known = [name for name in CONTENDERS if name != "pythae" or (args.precision == "float32" and find_spec("pythae"))]
    names = args.only or known
    limits = [matrix_product()]
    runs = measured(args, names, args.steps * network.batch_size)
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


def table(network, runs: dict[str, dict], limit: float) -> None:
    print(f"matrix product: {limit:.0f} GFLOP/s; {network.flop_per_image / 1e6:.1f} MFLOP an image\n")
    print("| | images/s (rounds) | of the limit | slowest epoch | first epoch | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, run in runs.items():
        rates = rounds(run["images_per_s"])
        if not quiet(run):
            print(f"| {name} | not reported: rounds from {min(rates):,.0f} to {max(rates):,.0f} | | | | |")
            continue
        share = median(rates) * network.flop_per_image / limit / 1e9
        slowest = median(rates) / min(run["images_per_s"])
        speed = f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        first, peak = f"{run['first_epoch_s']:.1f} s", f"{run['peak_mb']:.0f} MB"
        print(f"| {name} | {speed} | {share:.0%} | {slowest:.2f}x | {first} | {peak} |")


def rounds(turns: list[float]) -> list[float]:
    """The median of each round."""
    return [median(turns[start : start + TURNS]) for start in range(0, len(turns), TURNS)]


def quiet(run: dict) -> bool:
    """Whether a contender's rounds are close enough to one another to say something."""
    rates = rounds(run["images_per_s"])
    return max(rates) - min(rates) <= SPREAD * median(rates)


def ratios(runs: dict[str, dict]) -> None:
    print("\nratios, turn by turn:")
    for ours, theirs, target in TARGETS:
        if ours not in runs or theirs not in runs:
            continue
        turns = zip(runs[ours]["images_per_s"], runs[theirs]["images_per_s"], strict=True)
        values = rounds([own / other for own, other in turns])
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"  {ours} / {theirs}: {median(values):.2f} (rounds: {spread}), target {target}")


if __name__ == "__main__":
    flags.run(main)
