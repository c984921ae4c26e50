"""The best linear VAE for each number of latents, in closed form: what non-linear ones have to beat.

python benchmarks/quality/linear_vae.py --dataset cifar10 --split validation

Encoder and decoder are linear and optimal for the covariance of the training images (Lucas et al. 2019, "Don't blame
the ELBO!"): a direction of variance l is worth a latent where l is above the likelihood's variance s. squared_error
has s = 1/2, gaussian the optimal s, the mean variance of the directions left out (Tipping & Bishop 1999). Bits per
dimension compare with those of papers where the pixels are drawn within their levels, by --dequantize.
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from _pca import along, components
from _setup import flags, load, parser, prepare


def main() -> None:
    parse = parser(__doc__, "cifar10")
    parse.add_argument("--split", choices=("train", "validation", "test"), default="validation", help="measured on")
    parse.add_argument("--latents", default="8,16,32,40,64,128,256,512", metavar="LIST", help="their numbers")
    parse.add_argument("--dequantize", action="store_true", help="draw pixels evenly within their level")
    args = parse.parse_args()
    prepare(parse, args.backend)
    from keras_ae import InputError
    from keras_ae.objectives.elbo import bits_per_dimension

    dataset = load(args.dataset, args, limit=args.limit)
    dataset = dataset.dequantized() if args.dequantize else dataset
    values = math.prod(dataset.image_shape)
    if len(dataset.train) <= values:
        raise InputError(
            f"{len(dataset.train):,} images of {values:,} values; a linear VAE needs more images than that"
        )
    mean, variances, directions = components(dataset.train)
    squares, total = along(directions, mean, dataset.splits[args.split])
    print(f"{(variances > 0.5).sum()} directions of {dataset.name} have a variance above 1/2")
    print(f"\n{len(dataset.splits[args.split]):,} {args.split} images, nats per image")
    print("| likelihood | latents | used | SSE | KL | SSE + KL | ELBO | bits/dim |")
    print("| --- " * 8 + "|")
    for likelihood in ("squared_error", "gaussian"):
        for count in map(int, args.latents.split(",")):
            s = 0.5 if likelihood == "squared_error" else variances[count:].mean()
            used = min(count, int((variances > s).sum()))
            sse, kl = terms(variances[:used], squares[:used], total, s)
            elbo = -sse / (2 * s) - len(mean) / 2 * math.log(2 * math.pi * s) - kl
            bits = bits_per_dimension(elbo, dataset.image_shape)
            row = f"{count} | {used} | {sse:.2f} | {kl:.2f} | {sse + kl:.2f} | {elbo:.1f} | {bits:.4f}"
            print(f"| {likelihood} | {row} |")


def terms(variances, squares, total, s) -> tuple[float, float]:
    """SSE and KL with a latent for each of the variances l: its posterior has the variance s / l, and as its mean
    sqrt(l - s) / l times the image along the direction."""
    sse = total - squares.sum() + (squares * (s / variances) ** 2 + (variances - s) * s / variances).sum()
    kl = 0.5 * (s / variances + (variances - s) / variances**2 * squares - 1 - np.log(s / variances)).sum()
    return float(sse), float(kl)


if __name__ == "__main__":
    flags.run(main)
