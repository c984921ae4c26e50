"""What a search found: a table of its trials, plots, and the best of them trained again."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from keras_ae import data
from keras_ae.errors import InputError
from keras_ae.files import atomic
from keras_ae.objectives.elbo import bits_per_dimension
from keras_ae.training import History, train
from keras_ae.tuning.oracles import as_text, results, tuned
from keras_ae.tuning.search import ELBO, MSE, Search

# By objective: column -> what of a trial it shows
COLUMNS = {
    ELBO.name: {
        "ELBO": "val_elbo",
        "reconstruction": "val_reconstruction",
        "KL": "val_kl",
        "MSE": "val_mse",
        "active units": "val_active_units",
    },
    MSE.name: {"MSE": "val_mse", "PSNR": "val_psnr"},
}
SHARED = {"epoch": "best_epoch", "parameters": "parameters", "seconds": "seconds"}
WHOLE = {"epoch", "parameters", "seconds", "active units"}


def rows(search: Search) -> list[dict]:
    """A row for each trial that has ended: what was tuned, and what its best epoch measured or why it failed."""
    return [_row(search, trial) for trial in search.trials()]


def _row(search, trial) -> dict:
    row = {_words(name): value for name, value in tuned(trial).items()}
    if trial.status != "COMPLETED":
        return row | {"failed": search.reason(trial)}
    objective = search.local_oracle.objective.name
    measured = results(trial)
    columns = COLUMNS[objective] | SHARED
    if missing := columns.keys() - {column for column, name in columns.items() if name in measured}:
        raise InputError(
            f"trial {trial.trial_id} has not measured {', '.join(sorted(missing))}; search in a new folder"
        )
    row |= {column: measured[name] for column, name in columns.items()}
    if objective == ELBO.name:
        row["bits/dim"] = bits_per_dimension(row["ELBO"], search.dataset.image_shape)
    return row


def write(search: Search) -> str:
    """Writes `trials.csv` and plots into the folder of the search.

    Returns:
        The table in Markdown, and the best trial.

    Raises:
        InputError: no trial was completed.
    """
    best = search.best()
    trials = rows(search)
    names = list(dict.fromkeys(name for row in trials for name in row))
    with atomic(search.folder / "trials.csv") as path, open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(trials)
    first = _words(next(iter(tuned(best))))
    _plot([row for row in trials if "failed" not in row], first, search.local_oracle.objective, search.folder)
    lines = [names, ["---"] * len(names)]
    lines += [[_shown(name, row.get(name, "")) for name in names] for row in trials]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\nbest: {_listed(tuned(best))}"


def train_best(
    search: Search,
    build: Callable[..., keras.Model],
    dataset: data.Dataset,
    output: Path,
    metadata: dict | None = None,
) -> History:
    """Trains the best trial again, on the images that validated, too, for as many epochs as were best.

    Args:
        build: (dataset, epochs=..., and what is tuned) -> a compiled model.
        dataset: with all images, where the search had fewer.
        output: of the model. A card, in Markdown, gets the same name.
        metadata: more of what the file says of itself.

    Raises:
        InputError: no trial was completed.
    """
    best = search.best()
    values, epochs = tuned(best), int(results(best)["best_epoch"])
    dataset = _with_validation(dataset)
    model = build(dataset, epochs=epochs, **values)
    history = train(
        model,
        dataset,
        search.folder / f"best_{best.trial_id}",
        epochs=epochs,
        metadata={**(metadata or {}), "tuned": values},
        output=output,
        **search.fit_arguments,
    )
    card = {
        "tuned": _listed(values),
        "trained": f"{epochs} epochs on {len(dataset.train):,} images of {dataset.name}, "
        f"on {keras.backend.backend()}, {keras.config.dtype_policy().name}",
        **{f"test {name}": f"{value:.5g}" for name, value in history.test.items()},
    }
    lines = [f"# {output.name}", "", "| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in card.items())]
    with atomic(output.with_suffix(".md")) as path:
        path.write_text("\n".join(lines) + "\n")
    return history


def _with_validation(dataset: data.Dataset) -> data.Dataset:
    """The data set whose training images include those that validated."""
    indices = np.sort(np.concatenate([dataset.train.indices, dataset.validation.indices]))
    train_split = replace(dataset.train, indices=indices)
    return replace(dataset, train=train_split, validation=replace(train_split, indices=indices[:0]))


def _plot(trials: list[dict], first: str, objective, folder: Path) -> None:
    """The objective against what is tuned first; of a VAE also the reconstruction against the KL."""
    if objective.name == MSE.name:
        _save(_plot_objective(trials, first, "MSE", ""), folder / "mse.png")
        return
    unit = " (nats per image)"
    _save(_plot_objective(trials, first, "ELBO", unit), folder / "elbo.png")
    _save(_plot_rate_distortion(trials, first, unit), folder / "rate_distortion.png")


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _plot_objective(trials, first, objective, unit) -> Figure:
    figure, axes = _axes(first, objective + unit)
    places = [row[first] for row in trials]
    axes.plot(places, [row[objective] for row in trials], "o")
    if isinstance(places[0], str):  # names
        return figure
    if min(places) > 0:
        axes.set_xscale("log", base=2)
    axes.set_xticks(places, [as_text(place) for place in places])
    return figure


def _plot_rate_distortion(trials, first, unit) -> Figure:
    figure, axes = _axes("KL" + unit, "reconstruction" + unit)
    for share, row in zip(np.linspace(0, 0.95, len(trials)), trials, strict=True):
        axes.plot(row["KL"], row["reconstruction"], "o", color=colormaps["viridis"](share), label=as_text(row[first]))
    axes.legend(title=first)
    return figure


def _axes(x: str, y: str):
    figure = Figure(figsize=(5.5, 4), layout="constrained")  # not pyplot: no global state, no window system
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _words(name: str) -> str:
    return name.replace("_", " ")


def _listed(values: dict) -> str:
    return ", ".join(f"{_words(name)} {as_text(value)}" for name, value in values.items())


def _shown(name: str, value) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if name in WHOLE else f"{value:.5g}"
