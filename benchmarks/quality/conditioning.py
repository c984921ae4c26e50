"""What labels are worth: the same training without and with them, for several seeds.

python benchmarks/conditioning.py --dataset cifar10 --runs runs/conditioning -- --epochs 2 --flip

Means and standard deviations over the seeds of what each run measures on the test images at its end.
"""

import sys
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))

import _environment
import _flags
import _trained

# script -> what is compared
COMPARED = {
    "conv_ae.py": {"mse": "MSE", "psnr": "PSNR"},
    "vae.py": {"loss": "loss", "reconstruction": "reconstruction", "kl": "KL"},
}


def main() -> None:
    parser = _trained.parser(__doc__.splitlines()[0], "cifar10")
    parser.add_argument("--script", choices=COMPARED, default="vae.py", help="what is trained")
    parser.add_argument("--seeds", type=_flags.positive, default=3, help="runs of each")
    args = parser.parse_args()
    _environment.set_environment(parser, args.backend)
    from keras_ae import InputError, read_metadata
    from keras_ae.networks.conv import CONDITIONINGS

    measures = COMPARED[args.script]
    print("| labels for | " + " | ".join(measures.values()) + " | minutes a run |")
    print("| --- " * (len(measures) + 2) + "|")
    for conditioning in CONDITIONINGS:
        found, minutes = [], []
        for seed in range(args.seeds):
            name = f"{args.script.removesuffix('.py')}-{conditioning}-{seed}"
            flags = ("--conditioning", conditioning, "--seed", seed)
            file, seconds = _trained.train(args.script, args, name, *flags)
            metadata = read_metadata(file)
            if not metadata["class_names"]:
                raise InputError(f"{args.dataset} has no classes; take a data set with labels")
            found.append(metadata["test"])
            minutes.append(seconds / 60)
        cells = [spread([each[name] for each in found]) for name in measures]
        print(f"| {conditioning} | " + " | ".join(cells) + f" | {mean(minutes):.1f} |", flush=True)


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.4g} ± {stdev(values):.2g}" if len(values) > 1 else f"{values[0]:.4g}"


if __name__ == "__main__":
    _flags.run(main)
