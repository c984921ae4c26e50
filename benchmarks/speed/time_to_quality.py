"""Seconds of training until SSE + KL on the validation images of CIFAR-10 falls below a value.

python benchmarks/time_to_quality.py

keras_ae's default network (no labels), optimizer and schedule on each backend, against the reference network with Adam
1e-3 in a hand-written PyTorch loop and in pythae; all minimise the same SSE + KL of 40 latents. Scored every
`--every` batches; the clock runs from the first batch, compilation included, and stands still while scoring.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import _contenders
from _networks import NETWORKS

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))
import _environment

# name -> (function, Keras's backend, network, learning rate, batches at most)
ROWS = {
    **{
        f"keras_ae {backend}": (_contenders.keras_ae_default, backend, "default32", 3e-3, 689)
        for backend in ("tensorflow", "jax", "torch")
    },
    "torch loop": (_contenders.torch_loop, None, "reference", 1e-3, 371 * 20),
    "pythae": (_contenders.pythae, None, "reference", 1e-3, 371 * 20),
}


class Reached(Exception):  # noqa: N818 (not an error)
    """The value is reached."""


def work(args) -> dict:
    """One row in this process."""
    function, backend, name, learning_rate, most = ROWS[args.row]
    _contenders.prepare(backend)
    from keras_ae import data

    dataset = data.load("cifar10", data_dir=args.data_dir, cache_dir=args.cache_dir)
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

    network = NETWORKS[name]
    try:
        function(network, images, args.every, -(-(args.batches or most) // args.every), tick, learning_rate)
    except Reached:
        return {"seconds": scores[-1][0], "scores": scores}
    return {"seconds": None, "scores": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--below", type=float, default=77.2, help="the closed-form optimum of a linear VAE")
    parser.add_argument("--every", type=int, default=53, help="batches between scores")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help="some of the rows")
    parser.add_argument("--batches", type=int, help="at most; for keras_ae the length of its schedule")
    parser.add_argument("--data-dir", help="where prepared tensorflow-datasets lie")
    parser.add_argument("--cache-dir", help="where decoded images are kept")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(work(args)))
        return
    print(f"SSE + KL below {args.below} on the validation images of CIFAR-10\n")
    print("| | seconds | last score |\n| --- | --- | --- |")
    for name in args.only or [name for name in ROWS if name != "pythae" or find_spec("pythae")]:
        environment = dict(os.environ)
        if name.startswith("keras_ae"):
            environment["GLIBC_TUNABLES"] = _environment.ALLOCATOR
        command = [sys.executable, *sys.orig_argv[1:], "--row", name]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        seconds = found["seconds"] or f"not in {found['scores'][-1][0]}"
        print(f"| {name} | {seconds} | {found['scores'][-1][1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
