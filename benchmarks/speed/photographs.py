"""Seconds and memory of `train/sample.py` with a restorer: a thousand small images, and photographs of 12 megapixels.

python benchmarks/speed/photographs.py --denoiser saved_models/denoiser_cifar10.keras

The images are drawn: noise on gradients, in a folder of their own. Each run is a process of its own. One with a single
small image says how long it takes to start. Memory is the largest that a process held.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from _setup import ROOT, flags, parser
from PIL import Image

SIZES = {"1 of 32x32": (1, 32, 32), "1,000 of 32x32": (1000, 32, 32), "2 of 3000x4000": (2, 3000, 4000)}


def draw(folder: Path, count: int, height: int, width: int) -> None:
    """Writes so many noisy images of colours."""
    folder.mkdir()
    ramp = np.add.outer(np.linspace(0, 1, height), np.linspace(0, 1, width))[..., None] / 2
    for number in range(count):
        random = np.random.default_rng(number)
        image = ramp + 0.1 * random.standard_normal((height, width, 3), dtype="float32")
        Image.fromarray(np.uint8(255 * image.clip(0, 1))).save(folder / f"{number:04d}.png", compress_level=1)


def measured(command: list) -> tuple[float, float]:
    """Seconds, and MB at most."""
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(status, command)
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    parse = parser(__doc__)
    default = ROOT / "saved_models" / "denoiser_cifar10.keras"
    parse.add_argument("--denoiser", type=Path, default=default, metavar="FILE", help="of train/conv_ae.py")
    parse.add_argument("--rounds", type=flags.positive, default=3, help="runs of each")
    args = parse.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name, sizes in SIZES.items():
            draw(Path(place, name), *sizes)
        print(f"medians of {args.rounds} runs\n\n| backend | images | seconds | MB |\n| --- | --- | --- | --- |")
        for backend in flags.BACKENDS:
            for name in SIZES:
                command = [sys.executable, "train/sample.py", args.denoiser.resolve(), "--backend", backend]
                command += ["--dataset", Path(place, name), "--split", "all", "--separate", "--corruption", "none"]
                outputs = [Path(place, f"{backend} {name} {number}") for number in range(args.rounds)]
                runs = [measured([*command, "--output", output]) for output in outputs]
                seconds, memory = (median(values) for values in zip(*runs, strict=True))
                print(f"| {backend} | {name} | {seconds:.1f} | {memory:,.0f} |", flush=True)


if __name__ == "__main__":
    flags.run(main)
