"""Seconds until something is seen: --help, and the first 64 samples of a saved model, each in a fresh process.

python benchmarks/speed/startup.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from _setup import ROOT, flags, parser


def seconds(*command) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - started


def main() -> None:
    parse = parser(__doc__)
    default = ROOT / "saved_models" / "vae_cifar10.keras"
    parse.add_argument("--model", type=Path, default=default, metavar="FILE", help="of a VAE")
    parse.add_argument("--rounds", type=flags.positive, default=5, help="runs of each command")
    args = parse.parse_args()
    commands = {"train/vae.py --help": ("train/vae.py", "--help")}
    for backend in flags.BACKENDS:
        sample = ("train/sample.py", args.model.resolve(), "--count", 64, "--seed", 1, "--backend", backend)
        commands[f"load and sample 64, {backend}"] = (*sample, "--output")
    times = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds + 1):
            for name, command in commands.items():
                output = [Path(folder) / f"{name}-{number}.png"] if command[-1] == "--output" else []
                times[name].append(seconds(*command, *output))
    print(f"median of {args.rounds} runs, after one\n\n| | seconds (range) |\n| --- | --- |")
    for name, (_, *runs) in times.items():
        print(f"| {name} | {median(runs):.2f} ({min(runs):.2f} to {max(runs):.2f}) |")


if __name__ == "__main__":
    flags.run(main)
