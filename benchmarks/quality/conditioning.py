"""What labels are worth: the same training without and with them, for several seeds.

python benchmarks/quality/conditioning.py --dataset cifar10 --runs runs/conditioning -- --epochs 2 --flip

Means and standard deviations over the seeds of what each run measures on the test images at its end.
"""

import sys
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).parents[1]))

import _trained
from _setup import flags, prepare

# script -> what is compared
COMPARED = {
    "conv_ae.py": {"mse": "MSE", "psnr": "PSNR"},
    "vae.py": {"loss": "loss", "reconstruction": "reconstruction", "kl": "KL"},
}


def main() -> None:
    parse = _trained.parser(__doc__, "cifar10")
    parse.add_argument("--script", choices=COMPARED, default="vae.py", help="what is trained")
    parse.add_argument("--seeds", type=flags.positive, default=3, help="runs of each")
    args = parse.parse_args()
    prepare(parse, args.backend)
    from keras_ae.networks.conv import CONDITIONINGS

    measures = COMPARED[args.script]
    print("| labels for | " + " | ".join(measures.values()) + " | minutes a run |")
    print("| --- " * (len(measures) + 2) + "|")
    for conditioning in CONDITIONINGS:
        runs = [tested(args, conditioning, seed) for seed in range(args.seeds)]
        cells = [spread([results[name] for results, _ in runs]) for name in measures]
        minutes = mean(seconds for _, seconds in runs) / 60
        print(f"| {conditioning} | " + " | ".join(cells) + f" | {minutes:.1f} |", flush=True)


def tested(args, conditioning: str, seed: int) -> tuple[dict, float]:
    """What a run measured on the test images, and its seconds."""
    from keras_ae import InputError, read_metadata

    name = f"{args.script.removesuffix('.py')}-{conditioning}-{seed}"
    file, seconds = _trained.train(args.script, args, name, "--conditioning", conditioning, "--seed", seed)
    metadata = read_metadata(file)
    if not metadata["class_names"]:
        raise InputError(f"{args.dataset} has no classes; take a data set with labels")
    return metadata["test"], seconds


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.4g} ± {stdev(values):.2g}" if len(values) > 1 else f"{values[0]:.4g}"


if __name__ == "__main__":
    flags.run(main)
