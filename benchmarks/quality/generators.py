"""Generators side by side: how near their samples are to real images, and a picture of them.

python benchmarks/quality/generators.py --dataset cifar10 saved_models/vae_cifar10.keras runs/prior/model.keras

Each row is a saved model that samples, an autoencoder without a prior, which is given random codes, or samples that
`pythae_generators.py` wrote. Random codes have each number drawn alone from those of training images. Distances are
between features of EfficientNet-Lite0, or of `--features`: those of samples against as many training images. "Energy"
is that of the differences between neighbouring pixels, over real images': below 1 is blurred. "Class" is the share of
samples of the class that was asked for, as the 5 nearest training images say. The last row is the floor: other real
images. Seconds are those of drawing the samples.
"""

import time
from pathlib import Path

import numpy as np
from _side_by_side import SHOWN, compared, energy, flags, opened, save

SHORT = {"frechet_distance": "Frechet", "kernel_distance": "kernel", "precision": "precision", "recall": "recall"}
SHORT |= {"density": "density", "coverage": "coverage", "energy": "energy", "class": "class"}
NEIGHBOURS = 5
ROWS = 500  # samples whose distances to all training images are held at once


def main() -> None:
    parse = compared(__doc__, files="of models that sample, or .npz", count="samples of each")
    parse.add_argument("--guidance", nargs="+", type=float, metavar="X", help="of each, where its prior takes it")
    args, dataset, network = opened(parse)
    from keras_ae.evaluation import distances

    references = distances.of_halves(dataset.train, args.count, network)
    print(f"{args.count:,} images a row, features of {network.name} at {network.size}\n")
    print("| |", " | ".join(SHORT.values()), "| seconds |\n| --- |", " | ".join("---" for _ in SHORT), "| --- |")
    real = dataset.train.batch(slice(0, args.count))["image"]
    shown = {"training images": real[:SHOWN]}
    guidances = args.guidance or [None] * len(args.files)
    for name, file, guidance in zip(args.names, args.files, guidances, strict=True):
        made, seconds, labelled = drawn(file, args.count, guidance, real)
        results = distances.compare(network([made]), *references)
        results |= {"energy": energy(made) / energy(real), "class": right(made, dataset, labelled)}
        print(as_row(name, results, f"{seconds:.0f}"), flush=True)
        shown[name] = made[:SHOWN]
    floor = {name.removesuffix("_floor"): value for name, value in results.items() if name.endswith("_floor")}
    labels = dataset.test.arrays["labels"][dataset.test.indices]
    test = dataset.test.batch(slice(None))["image"]
    floor |= {"energy": energy(test) / energy(real), "class": float((nearest(test, dataset) == labels).mean())}
    print(as_row("other real images", floor, ""))
    save(args.output, shown)


def drawn(file: Path, count: int, guidance: float | None, real: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Samples, the seconds they took, and whether their classes take turns."""
    from keras_ae import open_model
    from keras_ae.evaluation import distances

    if file.suffix == ".npz":
        with np.load(file) as held:
            return (held["images"][:count] / np.float32(255)), float(held["seconds"]), False
    saved, started = open_model(file), time.perf_counter()
    if not saved.is_vae:
        return of_random_codes(saved.model, real), time.perf_counter() - started, False
    vae = saved.model
    settings = {"guidance": guidance} if guidance is not None and "guidance" in vae.prior.takes else {}
    made = np.concatenate(list(distances.sampled(vae, count, seed=0, **settings)))
    return made, time.perf_counter() - started, vae.samples_classes


def of_random_codes(model, images: np.ndarray) -> np.ndarray:
    codes = model.get_layer("encoder").predict(images, verbose=0)
    return model.get_layer("decoder").predict(shuffled(codes), verbose=0).clip(0, 1)


def shuffled(codes: np.ndarray) -> np.ndarray:
    """Codes (n, ...), each number of which is that of another one."""
    return np.random.default_rng(0).permuted(codes.reshape(len(codes), -1), axis=0).reshape(codes.shape)


def right(made: np.ndarray, dataset, labelled: bool) -> float:
    """The share of images, whose classes take turns, that are of their class."""
    if not labelled:
        return np.nan
    asked = np.arange(len(made)) % len(dataset.class_names)
    return float((nearest(made, dataset) == asked).mean())


def nearest(images: np.ndarray, dataset) -> np.ndarray:
    """The class that most of the nearest training images have."""
    batch = dataset.train.batch(slice(None))
    known, labels = batch["image"].reshape(len(batch["image"]), -1), batch["label"]
    squares, found = np.square(known).sum(1), []
    for start in range(0, len(images), ROWS):
        part = images[start : start + ROWS].reshape(-1, known.shape[1])
        distances = squares - 2 * part @ known.T
        neighbours = labels[np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
        found += [np.bincount(row).argmax() for row in neighbours]
    return np.array(found)


def as_row(name: str, results: dict, seconds: str) -> str:
    values = {short: f"{results[long]:.3g}" for long, short in SHORT.items()}
    if "kernel_distance_error" in results:
        values["kernel"] += f" ± {results['kernel_distance_error']:.1g}"
    return f"| {name} | {' | '.join(values.values())} | {seconds} |"


if __name__ == "__main__":
    flags.run(main)
