"""The trials of a search: how they are built, what they show side by side, and the best of them trained on."""

import argparse
import csv
import math
from dataclasses import replace

import _flags
import _runs
import _training
import conv_ae
import vae

# Column -> what of a trial it shows
COLUMNS = {
    "vae": {
        "ELBO": "val_elbo",
        "reconstruction": "val_reconstruction",
        "KL": "val_kl",
        "MSE": "val_mse",
        "active units": "val_active_units",
    },
    "conv_ae": {"MSE": "val_mse", "PSNR": "val_psnr"},
}
SHARED = {"epoch": "best_epoch", "parameters": "parameters", "seconds": "seconds"}
WHOLE = {"epoch", "parameters", "seconds", "active units"}


def search(args, space: dict, dataset):
    """The search that the flags describe."""
    from keras_ae import tuning

    return tuning.Search(
        lambda **values: build(flags_of(args, values), dataset),
        space,
        dataset,
        args.run_dir,
        epochs=args.max_epochs,
        method=args.search,
        trials=args.trials,
        objective=tuning.ELBO if args.model == "vae" else tuning.MSE,
        patience=args.patience,
        time_limit=args.time_limit or math.inf,
        seed=args.seed,
        fit={"batch_size": args.batch_size, "seed": args.seed, "flip": args.flip, "task": _task(args)},
    )


def _task(args):
    from keras_ae import get_task

    return get_task("reconstruct", label=args.conditioning != "none") if args.model == "conv_ae" else None


def flags_of(args, values: dict):
    """All flags that the training script would have."""
    script = {"vae": vae, "conv_ae": conv_ae}[args.model]
    return argparse.Namespace(**{**vars(script.parser().parse_args([])), **vars(args), **values})


def build(flags, dataset):
    """The compiled model that the training script would make of them."""
    from keras_ae import data

    steps = data.steps_per_epoch(dataset.train, flags.batch_size)
    if flags.model == "vae":
        return vae.build(flags, dataset, steps)
    model = conv_ae.build(flags, dataset)
    model.compile(_training.optimizer(flags, steps), **_task(flags).measures(model))
    return model


def report(args, search, dataset) -> None:
    """Prints the trials as a table, keeps them in trials.csv, and draws them."""
    from keras_ae import tuning

    best = search.best()  # or an error, before anything is written
    rows = [_row(args, search, trial, dataset) for trial in search.trials()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(args.run_dir / "trials.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    counts = f"{len(dataset.train):,} training and {len(dataset.validation):,} validation images"
    print(f"\n{counts}; what each trial's best epoch measured on the latter")
    print("| " + " | ".join(names) + " |\n" + "|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join(_shown(name, row.get(name, "")) for name in names) + " |")
    print(f"\nbest: {_listed(tuning.tuned(best))}")
    _draw(args, [row for row in rows if "failed" not in row], next(iter(tuning.tuned(best))).replace("_", " "))


def _listed(values: dict) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())


def _row(args, search, trial, dataset) -> dict:
    from keras_ae import tuning

    row = {name.replace("_", " "): value for name, value in tuning.tuned(trial).items()}
    if trial.status != "COMPLETED":
        return row | {"failed": search.reason(trial)}
    found = tuning.results(trial)
    row |= {column: found[name] for column, name in (COLUMNS[args.model] | SHARED).items()}
    if args.model == "vae":
        row["bits/dim"] = 8 - row["ELBO"] / (math.prod(dataset.image_shape) * math.log(2))
    return row


def _shown(name: str, value) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if name in WHOLE else f"{value:.5g}"


def _draw(args, rows: list[dict], first: str) -> None:
    """The objective against what is tuned first; of a VAE also the reconstruction against the KL."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    objective, unit = ("ELBO", " (nats per image)") if args.model == "vae" else ("MSE", "")
    pictures = {f"{objective.lower()}.png": (first, objective)}
    if args.model == "vae":
        pictures["rate_distortion.png"] = ("KL", "reconstruction")
    for name, (x, y) in pictures.items():
        figure = Figure(figsize=(5.5, 4), layout="constrained")
        axes = figure.subplots()
        if x == first:
            axes.plot([row[x] for row in rows], [row[y] for row in rows], "o")
            if min(row[x] for row in rows) > 0:
                axes.set_xscale("log", base=2)
            axes.set_xticks([row[x] for row in rows], [f"{row[x]:g}" for row in rows])
        else:
            for share, row in zip(np.linspace(0, 0.95, len(rows)), rows, strict=True):
                axes.plot(row[x], row[y], "o", color=colormaps["viridis"](share), label=f"{row[first]:g}")
            axes.legend(title=first)
        axes.set(xlabel=x + unit * (x != first), ylabel=f"{y}{unit}")
        axes.grid(alpha=0.3)
        figure.savefig(args.run_dir / name, dpi=110)


def finish(args, search) -> None:
    """Trains the best on all training images, with those that validated, and saves it with a card."""
    import numpy as np

    import keras_ae
    from keras_ae import data, tuning

    best = search.best()
    values, epochs = tuning.tuned(best), int(tuning.results(best)["best_epoch"])
    flags = flags_of(args, values | {"epochs": epochs, "limit": None})
    dataset = _training.load(flags)
    indices = np.sort(np.concatenate([dataset.train.indices, dataset.validation.indices]))
    train, none = data.Split(dataset.train.arrays, indices), data.Split(dataset.train.arrays, indices[:0])
    dataset = replace(dataset, train=train, validation=none)
    print(f"\ntraining it anew on {len(train):,} images, for the {epochs} epochs that were best", flush=True)
    model = build(flags, dataset)
    keras_ae.fit(model, dataset, args.run_dir / f"best_{best.trial_id}", epochs=epochs, **search.fit_arguments)
    task = _task(args)
    test = _flags.measure(model, data.evaluation_batches(dataset.test, task=task))
    about = {"task": "reconstruct", "corruption": task.corruption} if task else {"likelihood": args.likelihood}
    about |= {"tuned": values, "test": test}
    keras_ae.save_model(model, args.output, _runs.metadata(flags, dataset, args.model) | about)
    _flags.table(f"{len(dataset.test):,} test images", test)
    _card(flags, values, len(train), test)
    print(f"\nWritten: {args.output} with a card beside it, and in {args.run_dir}: trials.csv, plots")
    print(f"next: python train/sample.py {args.output} --backend {args.backend}")


def _card(flags, values: dict, images: int, test: dict) -> None:
    trained = f"{flags.epochs} epochs on {images:,} images of {flags.dataset}, on {flags.backend}, {flags.precision}"
    rows = {"tuned": _listed(values), "trained": trained} | {f"test {name}": f"{test[name]:.5g}" for name in test}
    lines = [f"# {flags.output.name}", "", "| | |", "| --- | --- |", *(f"| {name} | {rows[name]} |" for name in rows)]
    flags.output.with_suffix(".md").write_text("\n".join(lines) + "\n")
