"""The error of autoencoders against the size of their code, next to principal components of as many values.

python benchmarks/quality/codes.py --dataset cifar10 --runs runs/codes --codes 4x4x4,4x4x8 \\
    -- --width 64 --flip --epochs 15

Trains one for each code (height x width x features) by train/conv_ae.py and measures it on the test images and on the
first training images. The components are fitted to the images that the autoencoders are trained on: with --flip to
their mirror images too.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import _trained
import numpy as np
from _pca import along, components
from _setup import flags, load, prepare

TRAINING = 2000  # images that the error on training images is measured on
SHOWN = 8


def code(text: str) -> tuple[int, int]:
    """Size and features of "2x2x512"."""
    height, width, features = map(int, text.split("x"))
    if height != width:
        raise ValueError
    return height, features


def pca_errors(split, others: dict, counts: list[int], mirrored: bool) -> dict:
    """The mean squared error of each of `others` for each count of principal components of `split`."""
    mean, _, directions = components(split, mirrored)
    directions = directions[:, : max(counts)]
    errors = {}
    for name, other in others.items():
        squares, total = along(directions, mean, other)
        left = total - squares.cumsum()
        errors[name] = {count: left[count - 1] / len(mean) for count in counts if count <= len(left)}
    return errors


def named(rows: list[dict]):
    """Names and points (values, test error) of the plot: one for all codes whose own would lie on one another."""
    groups = []
    for row in sorted(rows, key=lambda row: (row["values"], row["test"])):
        last = groups[-1][-1] if groups else None
        if last and last["values"] == row["values"] and row["test"] < 1.05 * last["test"]:
            groups[-1].append(row)
        else:
            groups.append([row])
    for group in groups:
        names = ", ".join(row["code"] for row in group)
        yield names, (group[0]["values"], float(np.mean([row["test"] for row in group])))


def draw(rows: list[dict], title: str, path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name, colour in (("test", "tab:blue"), ("train", "tab:cyan")):
        x, y = [row["values"] for row in rows], [row[name] for row in rows]
        axes.plot(x, y, "o", color=colour, label=f"keras_ae, {name}")
    pca = sorted((row["values"], row["pca"]) for row in rows if row["pca"])
    axes.plot(*zip(*pca, strict=True), color="tab:orange", marker=".", label="principal components, test")
    place = {"xytext": (-6, 0), "textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 8}
    for names, point in named(rows):
        axes.annotate(names, point, **place)
    axes.set(xscale="log", yscale="log", xlabel="values of the code", ylabel="mean squared error", title=title)
    ticks = sorted({row["values"] for row in rows})
    axes.set_xticks(ticks, ticks)
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12)  # room for the names next to the outer points
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    args, codes = arguments()
    from keras_ae import open_model, pictures, restore_images

    dataset = load(args.dataset, args, limit=args.limit)
    splits = {
        "train": replace(dataset.train, indices=dataset.train.indices[:TRAINING]),
        "test": dataset.test,
    }
    values = {text: size**2 * features for text, (size, features) in codes.items()}
    pca = pca_errors(dataset.train, splits, list(values.values()), mirrored="--flip" in args.flags)
    print(f"{dataset.name}: {len(dataset.train):,} training images, {len(dataset.test):,} test images\n")
    print("| code | values | weights | minutes | MSE: train | test | PCA: train | test |")
    print("| --- " * 8 + "|")
    rows, shown = [], {"original": dataset.test.batch(slice(0, SHOWN))["image"]}
    for text, (size, features) in codes.items():
        file, seconds = _trained.train("conv_ae.py", args, text, "--code-size", size, "--code-channels", features)
        saved = open_model(file)
        shown[text] = restore_images(saved.model, shown["original"])
        components_mse = {name: pca[name].get(values[text]) for name in splits}
        row = {"code": text, "values": values[text], **errors(saved, splits), "pca": components_mse["test"]}
        rows.append(row)
        cells = [text, values[text], f"{saved.model.count_params():,}", f"{seconds / 60:.0f}"]
        cells += [f"{row['train']:.5f}", f"**{row['test']:.5f}**"]
        cells += [f"{mse:.5f}" if mse else "" for mse in components_mse.values()]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    if args.output:
        draw(rows, f"{dataset.name}, {len(dataset.test):,} test images", args.output)
    if args.picture:
        pictures.grid(np.stack(list(shown.values())), list(shown)).save(args.picture)


def arguments():
    """The flags, and (size, features) of each code by its name."""
    parse = _trained.parser(__doc__, "cifar10")
    parse.add_argument("--codes", required=True, metavar="LIST", help="such as 1x1x512,2x2x128")
    parse.add_argument("--output", type=Path, metavar="FILE", help="a plot")
    parse.add_argument("--picture", type=Path, metavar="FILE", help="test images, and what each code makes of them")
    args = parse.parse_args()
    try:
        codes = {text: code(text) for text in args.codes.split(",")}
    except ValueError:
        parse.error(f"--codes {args.codes}: give square codes like 2x2x512, joined by commas")
    if taken := {"--task", "--conditioning", "--image-size"}.intersection(args.flags):
        names = ", ".join(sorted(taken))
        parse.error(f"this experiment reconstructs images as they are, without labels; leave out {names}")
    prepare(parse, args.backend)
    return args, codes


def errors(saved, splits: dict) -> dict[str, float]:
    """The mean squared error of a saved autoencoder on each split."""
    from keras_ae import evaluate

    return {name: evaluate(saved.model, split, task=saved.task())["mse"] for name, split in splits.items()}


if __name__ == "__main__":
    flags.run(main)
