"""Denoising and completion, compared with methods without a network and with published networks.

python benchmarks/quality/restoration.py --dataset cifar10 --denoiser saved_models/denoiser_cifar10.keras \\
    --completer saved_models/completer_cifar10.keras

All get the same corrupted test images. The parameters of scikit-image's methods are tuned on the first validation
images, by PSNR. With --whole all images of a folder are restored in their own sizes and channels. BM3D needs the
package bm3d (for use that is not commercial), --rival h5py; the rest needs requirements-dev.txt.

CRPS is the continuous ranked probability score of the missing pixels, in grey levels (Gneiting & Raftery 2007, equation
21): of one answer the mean absolute error. A generator's row is the mean of its draws, for its first images.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from _setup import flags, load, parser, prepare
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet, inpaint_biharmonic

SHOWN = 8  # images of the picture
DRAWS = 8  # of a generator, for each image
TOGETHER = 2**16  # numbers of an image: larger ones are restored one at a time
HOLES = {"missing 8x8 centre": "centre:8", "50% missing": "pixels:0.5"}

# name -> (function of an image, the noise's standard deviation and a parameter, the parameters to choose from)
DENOISERS = {
    "non-local means": (
        lambda image, sigma, p: denoise_nl_means(
            image, patch_size=p[0], patch_distance=p[1], h=p[2] * sigma, sigma=sigma, fast_mode=False, channel_axis=-1
        ),
        [(size, 7, h) for size in (3, 5, 7) for h in (0.7, 0.9, 1.1)],
    ),
    "total variation": (
        lambda image, sigma, p: denoise_tv_chambolle(image, weight=p * sigma, channel_axis=-1),
        [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5],
    ),
    "wavelet": (
        lambda image, sigma, p: denoise_wavelet(
            image,
            sigma=p[2] * sigma,
            method=p[0],
            wavelet=p[1],
            convert2ycbcr=image.shape[-1] == 3,
            channel_axis=-1,
            mode="soft",
        ),
        [
            (m, w, s)
            for m in ("BayesShrink", "VisuShrink")
            for w in ("db1", "db2", "sym4")
            for s in (0.5, 0.75, 1.0, 1.25)
        ],
    ),
}


@dataclass
class Row:
    """What a method makes of a task's images, and how good it is.

    Attributes:
        psnr: (n,) dB, over the pixels of weight 1.
        ssim: (n,), over the whole images.
        shown: the first images.
        crps: (n,) grey levels, over the pixels of weight 1; where pixels are missing.
    """

    task: str
    method: str
    psnr: np.ndarray
    ssim: np.ndarray
    shown: list[np.ndarray]
    crps: np.ndarray | None = None
    seconds: float = 0.0
    parameter: str = ""
    is_ours: bool = False

    def numbers(self) -> dict:
        return {
            "task": self.task,
            "method": self.method,
            "parameter": self.parameter,
            "images": len(self.psnr),
            "psnr": float(self.psnr.mean()),
            "ssim": float(self.ssim.mean()),
            "crps": None if self.crps is None else float(self.crps.mean()),
            "ms_per_image": 1000 * self.seconds / len(self.psnr),
        }

    def ahead(self, other: "Row") -> float:
        """dB, over the images that both have."""
        count = min(len(self.psnr), len(other.psnr))
        return float((self.psnr[:count] - other.psnr[:count]).mean())


def measured(task: str, method: str, restore: Callable, images: list, originals: list, holes=None, **kwargs) -> Row:
    """The row of a method.

    Args:
        restore: a function of the list of images; of a generator it gives several of each.
        holes: the weight of each pixel, (height, width) an image.
    """
    started = time.time()
    draws = [np.clip(image, 0, 1) for image in restore(images)]
    draws = [image if image.ndim == 4 else image[None] for image in draws]
    seconds = time.time() - started
    restored = [image.mean(0) for image in draws]
    psnr = []
    for place, (image, original) in enumerate(zip(restored, originals, strict=True)):
        error = np.square(image - original).mean(-1)
        mse = np.average(error, weights=None if holes is None else holes[place])
        psnr.append(-10 * np.log10(max(mse, 1e-10)))
    settings = {"channel_axis": -1, "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5}
    ssim = [
        structural_similarity(image, original, use_sample_covariance=False, **settings)
        for image, original in zip(restored, originals, strict=True)
    ]
    crps = None if holes is None else np.array(list(map(crps_of, draws, originals, holes)))
    return Row(task, method, np.array(psnr), np.array(ssim), restored[:SHOWN], crps, seconds, **kwargs)


def crps_of(draws: np.ndarray, original: np.ndarray, hole: np.ndarray) -> float:
    """Grey levels, of draws (m, height, width, channels): unbiased for any number of them."""
    pixels, truth = draws[:, hole > 0.5], original[hole > 0.5]
    spread = np.abs(pixels[:, None] - pixels).sum((0, 1)) / max(1, len(draws) * (len(draws) - 1))
    return 255 * float((np.abs(pixels - truth).mean(0) - spread / 2).mean())


def at_once(function: Callable, images: list) -> list:
    """What a function of (n, height, width, channels) makes of images of one size, together; or of larger or different
    ones, one at a time."""
    if len({image.shape for image in images}) == 1 and images[0].size <= TOGETHER:
        return list(function(np.stack(images)))
    return [function(image[None])[0] for image in images]


def denoising(corruption: str, images: list, originals: list, contenders: dict, ours: dict) -> list[Row]:
    """The rows of a noise.

    Args:
        contenders: by name, a function of a list of images, how many it is given, and its parameter.
    """
    task = f"noise {corruption}"
    rows = [measured(task, "noisy", lambda images: images, images, originals)]
    for name, (restore, count, parameter) in contenders.items():
        rows.append(measured(task, name, restore, images[:count], originals[:count], parameter=parameter))
    return rows + own_rows(task, ours, images, originals, unclipped="unclipped" in corruption)


def classical(sigma: float, noisy: list, originals: list) -> dict:
    """scikit-image's methods, with the parameter that has the best PSNR on these images."""
    found = {}
    for name, (function, parameters) in DENOISERS.items():
        tries = [(one_by_one(function, sigma, parameter), None, str(parameter)) for parameter in parameters]
        found[name] = max(tries, key=lambda one: measured("", name, one[0], noisy, originals).psnr.mean())
    return found


def one_by_one(function: Callable, *arguments) -> Callable:
    return lambda images: [function(image, *arguments).reshape(image.shape) for image in images]


def bm3d(sigma: float, count: int) -> dict:
    """BM3D of Dabov et al. 2007, on the first images: it takes seconds for each."""
    import bm3d

    def restore(image):
        return bm3d.bm3d_rgb(image, sigma) if image.shape[-1] == 3 else bm3d.bm3d(image[..., 0], sigma)[..., None]

    return {"BM3D": (one_by_one(restore), count, "")}


def rivals(paths: list[Path], sigma: float) -> dict:
    from _matconvnet import Denoiser

    found = {name: Denoiser(path) for name, path in named(paths).items()}
    return {
        name: (partial(at_once, lambda images, network=network: network(images, sigma)), None, "")
        for name, network in found.items()
    }


def completion(dataset, models: dict, generators: dict, count: int, what: str, corruption: str) -> list[Row]:
    """The rows of a hole; of the generators for the first `count` images, and then the CRPS of all rows for these."""
    from keras_ae import get_task

    inputs, target, missing = get_task("complete", corruption).take(dataset.test, slice(None))

    def biharmonic(images):
        return [
            inpaint_biharmonic(image, hole > 0.5, channel_axis=-1) for image, hole in zip(images, missing, strict=True)
        ]

    rows = [
        measured(what, name, restore, inputs["image"], target, missing)
        for name, restore in (("black", lambda images: images), ("biharmonic", biharmonic))
    ]
    rows += own_rows(what, models, inputs["image"], target, missing, mask=inputs["mask"])
    labels = dataset.test.batch(slice(0, count))["label"]
    for name, vae in generators.items():
        given = labels if vae.conditioning != "none" else None
        draw = partial(vae.complete, mask=inputs["mask"][:count], count=DRAWS, labels=given, seed=0)
        first = (values[:count] for values in (inputs["image"], target, missing))
        rows.append(measured(what, name, draw, *first, is_ours=True))
    if generators:
        rows = [replace(row, crps=row.crps[:count]) for row in rows]
    return rows


def own_rows(what, models: dict, images, originals, holes=None, **kwargs) -> list[Row]:
    """What the models restore, and the means of this and of what they restore of the mirrored images."""
    from keras_ae import PhotographRestorer, restore_images

    rows = []
    for name, model in models.items():
        whole = any(image.shape != model.input_shape[1:] for image in images) if holes is None else False
        function = PhotographRestorer(model).restore if whole else partial(restore_images, model)
        for method, mirrored in ((name, False), (f"{name}, mirrored mean", True)):
            restore = partial(function, **kwargs, mirrored=mirrored)
            restore = partial(at_once, restore) if holes is None else restore  # holes are of all images together
            rows.append(measured(what, method, restore, images, originals, holes, is_ours=True))
    return rows


def draw(rows: list[Row], originals: list, path: Path) -> None:
    """The first test images. For each task what comes in, the best of the others, and keras_ae."""
    from keras_ae import pictures

    labels, shown = ["original"], [originals[:SHOWN]]
    for results in by_task(rows):
        corrupted, *others = (row for row in results if not row.is_ours)
        best = best_of([row for row in others if len(row.shown) == len(corrupted.shown)])
        alone = next(row for row in results if row.is_ours)
        labels += [results[0].task, *(f"{row.method}, {row.psnr.mean():.1f} dB" for row in (best, alone))]
        shown += [row.shown for row in (corrupted, best, alone)]
    pictures.grid(np.stack(shown), labels).save(path)


def by_task(rows: list[Row]) -> list[list[Row]]:
    return [[row for row in rows if row.task == task] for task in dict.fromkeys(row.task for row in rows)]


def best_of(rows: list[Row]) -> Row:
    return max(rows, key=lambda row: row.psnr.mean())


def table(rows: list[Row]) -> None:
    """The rows, and how far keras_ae is ahead of the others of a task."""
    columns = ["task", "method", "parameter", "images", "PSNR", "SSIM", "CRPS", "ms an image"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    line = "| {task} | {method} | {parameter} | {images:,} | {psnr:.2f} | {ssim:.4f} | {crps} | {ms_per_image:.2f} |"
    for row in rows:
        numbers = row.numbers()
        crps = "" if numbers["crps"] is None else f"{numbers['crps']:.2f}"
        print(line.format(**numbers | {"crps": crps}))
    print()
    for results in by_task(rows):
        others = [row for row in results if not row.is_ours][1:]
        for own in (row for row in results if row.is_ours):
            ahead = ", ".join(f"{own.ahead(other):+.2f} dB against {other.method}" for other in others)
            print(f"{own.task}: {own.method} {ahead}")


def main() -> None:
    parse = parser(__doc__, "cifar10")
    add = parse.add_argument
    add("--denoiser", type=Path, nargs="+", default=[], metavar="FILE", help="of train/conv_ae.py --task denoise")
    add("--completer", type=Path, nargs="+", default=[], metavar="FILE", help="of train/conv_ae.py --task complete")
    add("--generator", type=Path, nargs="+", default=[], metavar="FILE", help="VAEs, which draw completions")
    add("--drawn", type=flags.positive, default=100, metavar="N", help="images of a generator's row")
    add("--corruption", nargs="+", default=["gaussian:25/255"], help="noise of a deviation; or unclipped_gaussian")
    add("--whole", action="store_true", help="all images of a folder, in their own sizes and channels")
    add("--bm3d", type=flags.positive, metavar="N", help="measure BM3D, too, on the first N images")
    add("--rival", type=Path, nargs="+", default=[], metavar="FILE", help="published denoisers, in MatConvNet's files")
    add("--tune", type=flags.positive, default=100, help="validation images to tune scikit-image's methods on")
    add("--output", type=Path, metavar="FILE", help="a picture of the first test images")
    add("--json", action="store_true", help="one JSON list instead of a table")
    args = parse.parse_args()
    if not (args.denoiser or args.completer):
        parse.error("nothing to compare; give --denoiser, --completer or both")
    if args.whole and args.completer:
        parse.error("--whole is for denoisers; leave out --completer")
    if args.whole and args.output:
        parse.error("--output shows images of one size; leave out --whole, or it")
    if args.generator and not args.completer:
        parse.error("--generator is measured beside a completer; give --completer, too")
    for package, wanted in {"bm3d": args.bm3d, "h5py": args.rival}.items():
        if wanted and importlib.util.find_spec(package) is None:
            parse.error(f"{package} is not there; pip install {package}")
    prepare(parse, args.backend)
    from keras_ae import data, load_model

    denoisers, completers, generators = (
        {name: load_model(path) for name, path in named(paths).items()}
        for paths in (args.denoiser, args.completer, args.generator)
    )
    noises = {corruption: noise(corruption) for corruption in args.corruption if denoisers}
    if args.whole:
        held = list(data.photographs(args.dataset, limit=args.limit))
        originals, numbers = [photograph.image for photograph in held], [photograph.number for photograph in held]
    else:
        dataset = load(args.dataset, args)
        dataset = replace(dataset, test=replace(dataset.test, indices=dataset.test.indices[: args.limit]))
        originals, numbers = list(dataset.test.batch(slice(None))["image"]), dataset.test.indices
    rows = []
    for corruption, kinds in noises.items():
        sigma = kinds[0].high
        images = noisy(originals, kinds, numbers)
        contenders = {}
        if not args.whole:
            tune = list(dataset.validation.batch(slice(0, args.tune))["image"])
            contenders = classical(sigma, noisy(tune, kinds, dataset.validation.indices[: args.tune]), tune)
        if args.bm3d:
            contenders |= bm3d(sigma, args.bm3d)
        contenders |= rivals(args.rival, sigma) if args.rival else {}
        rows += denoising(corruption, images, originals, contenders, denoisers)
    for what, corruption in HOLES.items() if completers else []:
        rows += completion(dataset, completers, generators, args.drawn, what, corruption)
    if args.output:
        draw(rows, originals, args.output)
    if args.json:
        print(json.dumps([row.numbers() for row in rows], indent=1))
        return
    print(f"{args.dataset}, {len(originals):,} images\nPSNR in dB. Where pixels are missing it is over these only\n")
    table(rows)


def named(paths: list[Path]) -> dict[str, Path]:
    """By their names, a run's by its folder's; where these are the same, by their paths."""
    names = [path.resolve().parent.name if path.stem in ("model", "best") else path.stem for path in paths]
    return dict(zip(names if len(set(names)) == len(names) else map(str, paths), paths, strict=True))


def noise(text: str) -> list:
    """The corruption, of one deviation, which the methods are told."""
    from keras_ae import InputError, data

    kinds = data.parse_corruptions(text)
    if len(kinds) > 1 or "gaussian" not in kinds[0].kind or kinds[0].low < kinds[0].high:
        raise InputError(f"--corruption {text} is not noise of one deviation; give one, as gaussian:25/255")
    return kinds


def noisy(images: list, kinds: list, numbers) -> list:
    from keras_ae.data import corrupt
    from keras_ae.tasks import EVALUATION_SEED

    return [
        corrupt(image[None], kinds, [number], seed=EVALUATION_SEED)[0][0]
        for image, number in zip(images, numbers, strict=True)
    ]


if __name__ == "__main__":
    flags.run(main)
