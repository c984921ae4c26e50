"""A whole search in one call: trials, what they found, and the best of them trained again."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras

from keras_ae import data
from keras_ae.training import History
from keras_ae.tuning.report import train_best, write
from keras_ae.tuning.search import Search
from keras_ae.tuning.workers import role, run_search


def tune(
    build: Callable[..., keras.Model],
    space: dict[str, list | tuple],
    dataset: data.Dataset,
    folder: Path | str,
    *,
    output: Path | str,
    load_all: Callable[[], data.Dataset] | None = None,
    workers: int = 1,
    metadata: dict | None = None,
    **settings,
) -> History | None:
    """Searches, prints and keeps what the trials measured, and trains the best again for `output`.

    Call it again with the same arguments to resume a search that was stopped. Once `output` exists it only reports.

    Args:
        build: (dataset, epochs=..., and what is tuned) -> a compiled model, as `build_vae`.
        space, dataset, folder, settings: as `Search` takes them.
        output: of the best model, which gets a card in Markdown of the same name.
        load_all: gives the data set that the best is trained on, where the search has fewer images.
        workers: processes that run trials. With more than one, this program is started again in each.
        metadata: more of what the saved file says of itself.

    Returns:
        The history of the best. `None` where nothing was trained: it was before, or this is a worker.

    Raises:
        InputError: no trial was completed. Or as `Search`.

    >>> import tempfile
    >>> from functools import partial
    >>> from keras_ae import data, tuning
    >>> shapes = data.load("shapes", image_size=(8, 8), limit=40)
    >>> folder = Path(tempfile.mkdtemp())
    >>> build = partial(tuning.build_vae, width=4)
    >>> history = tuning.tune(build, {"latent_dim": [2]}, shapes, folder, output=folder / "best.keras", epochs=1)
    grid search in ...
    best: latent dim 2
    ...
    >>> "elbo" in history.test and (folder / "best.md").exists()
    True
    """
    folder, output = Path(folder), Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    make = partial(Search, partial(build, dataset), space, dataset, folder, **settings)
    if output.exists():
        print(f"{_table(make(), dataset)}\n{output} exists already")
        return None
    if not role():
        print(f"{settings.get('method', 'grid')} search in {folder}", flush=True)
    search = run_search(make, folder, workers)
    if search is None:
        return None
    print(_table(search, dataset))
    print("\ntraining the best again, also on the images that validated", flush=True)
    return train_best(search, build, load_all() if load_all else dataset, output, metadata)


def _table(search: Search, dataset: data.Dataset) -> str:
    counts = f"{len(dataset.train):,} training and {len(dataset.validation):,} validation images"
    return f"\n{counts}; what each trial's best epoch measured on the latter\n{write(search)}"
