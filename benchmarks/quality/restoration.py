"""Denoising and completion, compared with the best that scikit-image offers without a network.

python benchmarks/quality/restoration.py --dataset cifar10 --denoiser saved_models/denoiser_cifar10.keras \\
    --completer saved_models/completer_cifar10.keras

All get the same corrupted test images. The tasks are those of the models. The parameters of the classical methods are
tuned on the first validation images, by PSNR. Needs requirements-dev.txt.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from _setup import flags, load, parser, prepare
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet, inpaint_biharmonic

SIGMA = 25 / 255
SHOWN = 8  # images of the picture
TASKS = {"noise of sigma 25/255": "gaussian:25/255", "missing 8x8 centre": "centre:8", "50% missing": "pixels:0.5"}

# name -> (function of an image and a parameter, the parameters to choose from)
DENOISERS = {
    "non-local means": (
        lambda image, p: denoise_nl_means(
            image, patch_size=p[0], patch_distance=p[1], h=p[2] * SIGMA, sigma=SIGMA, fast_mode=False, channel_axis=-1
        ),
        [(size, 7, h) for size in (3, 5, 7) for h in (0.7, 0.9, 1.1)],
    ),
    "total variation": (
        lambda image, weight: denoise_tv_chambolle(image, weight=weight, channel_axis=-1),
        [0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15],
    ),
    "wavelet": (
        lambda image, p: denoise_wavelet(
            image, sigma=p[2] * SIGMA, method=p[0], wavelet=p[1], convert2ycbcr=True, channel_axis=-1, mode="soft"
        ),
        [
            (m, w, s)
            for m in ("BayesShrink", "VisuShrink")
            for w in ("db1", "db2", "sym4")
            for s in (0.5, 0.75, 1.0, 1.25)
        ],
    ),
}


def scores(restored, originals, weights=None) -> tuple[float, float]:
    """PSNR in dB over the pixels of weight 1 and SSIM over the whole image, means over images."""
    error = np.square(np.clip(restored, 0, 1) - originals).mean(-1)
    weights = np.ones_like(error) if weights is None else weights
    mse = (error * weights).sum((1, 2)) / weights.sum((1, 2))
    settings = {"channel_axis": -1, "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5}
    ssim = [
        structural_similarity(a, b, use_sample_covariance=False, **settings)
        for a, b in zip(np.clip(restored, 0, 1), originals, strict=True)
    ]
    return float(np.mean(-10 * np.log10(np.maximum(mse, 1e-10)))), float(np.mean(ssim))


def tuned(function, parameters, noisy, originals):
    """The parameter with the best PSNR on these images."""
    return max(parameters, key=lambda p: scores(np.stack([function(image, p) for image in noisy]), originals)[0])


def denoising(dataset, model, tune: int) -> list[dict]:
    from keras_ae import get_task

    what, corruption = next(iter(TASKS.items()))
    task = get_task("denoise", corruption)
    inputs, target = task.take(dataset.test, slice(None))
    tune_inputs, tune_target = task.take(dataset.validation, slice(0, tune))
    rows = [row(what, "noisy", "", inputs["image"], target)]
    for name, (function, parameters) in DENOISERS.items():
        best = tuned(function, parameters, tune_inputs["image"], tune_target)
        started = time.time()
        restored = np.stack([function(image, best) for image in inputs["image"]])
        rows.append(row(what, name, str(best), restored, target, seconds=time.time() - started))
    return rows + ours(what, model, inputs["image"], target)


def completion(dataset, model, what: str, corruption: str) -> list[dict]:
    from keras_ae import get_task

    inputs, target, missing = get_task("complete", corruption).take(dataset.test, slice(None))
    started = time.time()
    restored = np.stack(
        [
            inpaint_biharmonic(image, hole > 0.5, channel_axis=-1)
            for image, hole in zip(inputs["image"], missing, strict=True)
        ]
    )
    rows = [row(what, "black", "", inputs["image"], target, missing)]
    rows.append(row(what, "biharmonic", "", restored, target, missing, time.time() - started))
    return rows + ours(what, model, inputs["image"], target, missing, mask=inputs["mask"])


def ours(what, model, images, target, weights=None, **mask) -> list[dict]:
    """What the model restores, and the mean of this and of what it restores of the mirrored images."""
    from keras_ae import restore_images

    rows = []
    for method, mirrored in (("keras_ae", False), ("keras_ae, mirrored mean", True)):
        started = time.time()
        restored = restore_images(model, images, **mask, mirrored=mirrored)
        rows.append(row(what, method, "", restored, target, weights, time.time() - started))
    return rows


def row(what, method, parameter, restored, target, weights=None, seconds=0.0) -> dict:
    psnr, ssim = scores(restored, target, weights)
    return {
        "task": what,
        "method": method,
        "parameter": parameter,
        "psnr": psnr,
        "ssim": ssim,
        "ms_per_image": 1000 * seconds / len(target),
        "shown": restored[:SHOWN],
    }


def draw(dataset, rows: list[dict], path: Path) -> None:
    """The first test images. For each task what comes in, the best of the others, and keras_ae."""
    from keras_ae import pictures

    labels, shown = ["original"], [dataset.test.batch(slice(0, SHOWN))["image"]]
    for what in TASKS:
        if results := [result for result in rows if result["task"] == what]:
            corrupted, *others, alone, _ = results
            best = best_of(others)
            labels += [what, *(f"{result['method']}, {result['psnr']:.1f} dB" for result in (best, alone))]
            shown += [result["shown"] for result in (corrupted, best, alone)]
    pictures.grid(np.stack(shown), labels).save(path)


def best_of(rows: list[dict]) -> dict:
    return max(rows, key=lambda result: result["psnr"])


def table(rows: list[dict]) -> None:
    """The rows, and how far keras_ae is ahead of the best of the others of a task."""
    print("| task | method | parameter | PSNR | SSIM | ms an image |\n| --- | --- | --- | --- | --- | --- |")
    for result in rows:
        print("| {task} | {method} | {parameter} | {psnr:.2f} | {ssim:.4f} | {ms_per_image:.2f} |".format(**result))
    for what in TASKS:
        results = [result for result in rows if result["task"] == what]
        for own in results[-2:]:
            ahead = own["psnr"] - best_of(results[:-2])["psnr"]
            print(f"{what}: {own['method']} {ahead:+.2f} dB against the best of the others")


def main() -> None:
    parse = parser(__doc__, "cifar10")
    parse.add_argument("--denoiser", type=Path, metavar="FILE", help="trained by train/conv_ae.py --task denoise")
    parse.add_argument("--completer", type=Path, metavar="FILE", help="trained by train/conv_ae.py --task complete")
    parse.add_argument("--tune", type=flags.positive, default=100, help="validation images to tune the others on")
    parse.add_argument("--output", type=Path, metavar="FILE", help="a picture of the first test images")
    parse.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    args = parse.parse_args()
    if not (args.denoiser or args.completer):
        parse.error("nothing to compare; give --denoiser, --completer or both")
    prepare(parse, args.backend)
    from keras_ae import InputError, load_model

    dataset = load(args.dataset, args)
    if dataset.image_shape[2] != 3:
        raise InputError(f"the images of {dataset.name} have one channel; the comparison is for colour images")
    dataset = replace(dataset, test=replace(dataset.test, indices=dataset.test.indices[: args.limit]))
    rows = denoising(dataset, load_model(args.denoiser), args.tune) if args.denoiser else []
    if args.completer:
        completer = load_model(args.completer)
        for what, corruption in list(TASKS.items())[1:]:
            rows += completion(dataset, completer, what, corruption)
    if args.output:
        draw(dataset, rows, args.output)
    if args.json:
        numbers = [{name: value for name, value in result.items() if name != "shown"} for result in rows]
        print(json.dumps(numbers, indent=1))
        return
    print(f"{dataset.name}, {len(dataset.test):,} test images")
    print("PSNR in dB. Where pixels are missing it is over these only\n")
    table(rows)


if __name__ == "__main__":
    flags.run(main)
