"""Seconds of training until SSE + KL on the validation images of CIFAR-10 falls below a value.

python benchmarks/speed/time_to_quality.py

keras_ae trains its default network (no labels) with its own optimizer and schedule on each backend. A hand-written
PyTorch loop trains the same network with Adam and a schedule that was tuned for it, on the same mirrored images. pythae
trains the reference network with Adam 1e-3. All minimise the same SSE + KL of 40 latents, with the same allocator
settings. They are scored every `--every` batches. The clock runs from the first batch, compilation included, and stands
still while they are scored. The rows take turns, seed by seed.
"""

import argparse
import json
import math
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import _contenders
import _fresh
from _networks import NETWORKS
from _setup import add_places, flags, load, parser, prepare

RATE, BATCHES = 4e-3, 2120  # of the loop: the best of those in docs/performance.md
# name -> (function, Keras's backend, network, learning rate, batches at most)
ROWS = {
    **{
        f"keras_ae {backend}": (_contenders.keras_ae_default, backend, "default32", 3e-3, 689)
        for backend in flags.BACKENDS
    },
    "torch loop": (partial(_contenders.torch_loop, tuned=True), None, "default32", RATE, BATCHES),
    "pythae": (_contenders.pythae, None, "reference", 1e-3, 371 * 20),
}


class Reached(Exception):  # noqa: N818 (not an error)
    """The value is reached."""


def work(args) -> dict:
    """One row in this process."""
    function, _, name, learning_rate, most = ROWS[args.row]
    learning_rate = args.learning_rate or learning_rate
    dataset = load("cifar10", args)
    images, validation = (split.arrays["images"][split.indices] for split in (dataset.train, dataset.validation))
    scores, seconds, begun = [], 0.0, 0.0

    def tick(score):
        nonlocal seconds, begun
        if score is None:  # the first batch comes next
            begun = time.perf_counter()
            return
        seconds += time.perf_counter() - begun
        scores.append((round(seconds, 1), score(validation)))
        print(args.row, *scores[-1], file=sys.stderr, flush=True)
        if scores[-1][1] < args.below:
            raise Reached
        begun = time.perf_counter()

    epochs = -(-(args.batches or most) // args.every)
    try:
        function(NETWORKS[name], images, args.every, epochs, tick, learning_rate, args.seed)
    except Reached:
        return {"seconds": scores[-1][0], "scores": scores}
    return {"seconds": None, "scores": scores}


def main() -> None:
    parse = parser(__doc__)
    parse.add_argument("--below", type=float, default=77.2, metavar="X", help="the optimum of a linear VAE")
    parse.add_argument("--every", type=flags.positive, default=53, help="batches between scores")
    parse.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"some of {', '.join(ROWS)}")
    parse.add_argument("--batches", type=flags.positive, help="at most, and the length of the schedules")
    parse.add_argument("--learning-rate", type=float, metavar="X", help="at its peak")
    parse.add_argument("--seeds", type=flags.positive, default=5, metavar="N", help="trainings of each row but pythae")
    add_places(parse)
    parse.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parse.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    args = parse.parse_args()
    if args.row:
        prepare(parse, ROWS[args.row][1])
        print(json.dumps(work(args)))
        return
    print(f"SSE + KL below {args.below} on the validation images of CIFAR-10\n")
    names = args.only or [name for name in ROWS if name != "pythae" or find_spec("pythae")]
    results = {name: [] for name in names}
    for seed in range(args.seeds):
        for name in names if seed == 0 else [name for name in names if name != "pythae"]:
            results[name].append(_fresh.measured(*sys.argv, "--row", name, "--seed", seed))
    print("| | seconds: median | each seed | last scores |\n| --- | --- | --- | --- |")
    for name, runs in results.items():
        seconds = [run["seconds"] or math.inf for run in runs]
        each = ", ".join(str(run["seconds"] or f"not in {run['scores'][-1][0]}") for run in runs)
        scores = ", ".join(f"{run['scores'][-1][1]:.2f}" for run in runs)
        print(f"| {name} | {median(seconds):.0f} | {each} | {scores} |")


if __name__ == "__main__":
    flags.run(main)
