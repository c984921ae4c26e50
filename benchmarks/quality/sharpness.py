"""Reconstructions side by side: how near they are to their images, how near to real ones, and a picture of them.

python benchmarks/quality/sharpness.py --dataset cifar10 runs/mse/model.keras runs/features/model.keras

Each row is a saved VAE. PSNR, as the mean over images and of the mean error, SSIM, energy and perplexity are those of
test images; "energy" as in `generators.py`. The Frechet distance is between reconstructions of `--count` training
images and as many other training images, on features of EfficientNet-Lite0, or of `--features`. The last row is the
floor: the images themselves.
"""

import numpy as np
from _side_by_side import SHOWN, compared, energy, flags, opened, save


def main() -> None:
    args, dataset, network = opened(compared(__doc__, files="of VAEs", count="training images of the distance"))
    from keras_ae import open_model
    from keras_ae.evaluation import distances

    test = dataset.test.batch(slice(None))
    shown = {"test images": test["image"][:SHOWN]}
    print(f"{len(test['image']):,} test images; distances of {args.count:,} images, features of {network.name}\n")
    print("| | PSNR | SSIM | energy | perplexity | Frechet |\n| --- | --- | --- | --- | --- | --- |")
    for name, file in zip(args.names, args.files, strict=True):
        vae = open_model(file).model
        made = vae.reconstruct(test["image"], test["label"] if vae.conditioning != "none" else None)
        near = distances.of_reconstructions(vae, dataset.train, args.count, network)
        print(as_row(name, near["frechet_distance"], made, test["image"], perplexity(vae, test)), flush=True)
        shown[name] = made[:SHOWN]
    print(f"| the images | | | 1 | | {near['frechet_distance_floor']:.1f} |")
    save(args.output, shown)


def perplexity(vae, test) -> str:
    """Of the tokens; of other latents nothing."""
    if not vae.latent.is_discrete:
        return ""
    tokens = vae.encode(test["image"], test["label"] if vae.conditioning != "none" else None)
    shares = np.unique(tokens, return_counts=True)[1] / tokens.size
    return f"{np.exp(-(shares * np.log(shares)).sum()):.0f}"


def as_row(name: str, distance: float, made, images, perplexity: str) -> str:
    from keras_ae.objectives import SSIM

    ssim = SSIM()
    ssim.update_state(images, made)
    errors = np.square(made - images).mean((1, 2, 3))
    psnr = f"{(-10 * np.log10(errors)).mean():.2f} ({-10 * np.log10(errors.mean()):.2f})"
    sharp = energy(made) / energy(images)
    return f"| {name} | {psnr} | {float(ssim.result()):.3f} | {sharp:.2f} | {perplexity} | {distance:.1f} |"


if __name__ == "__main__":
    flags.run(main)
