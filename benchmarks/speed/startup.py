"""Seconds until something is seen: --help, and the first 64 samples of a saved model, each in a fresh process.

python benchmarks/startup.py
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
BACKENDS = ("tensorflow", "jax", "torch")


def seconds(*command) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "saved_models" / "vae_cifar10.keras", help="of a VAE")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = {"train/vae.py --help": ("train/vae.py", "--help")}
        for backend in BACKENDS:
            sample = ("train/sample.py", args.model.resolve(), "--count", 64, "--seed", 1, "--backend", backend)
            commands[f"load and sample 64, {backend}"] = (*sample, "--output")
        found = {name: [] for name in commands}
        for number in range(args.rounds + 1):
            for name, command in commands.items():
                output = [Path(folder) / f"{name}-{number}.png"] if command[-1] == "--output" else []
                found[name].append(seconds(*command, *output))
    print(f"median of {args.rounds} runs, after one\n\n| | seconds (range) |\n| --- | --- |")
    for name, runs in found.items():
        print(f"| {name} | {median(runs[1:]):.2f} ({min(runs[1:]):.2f} to {max(runs[1:]):.2f}) |")


if __name__ == "__main__":
    main()
