"""A search: each trial builds and trains a model in a folder of its own."""

import gc
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_ae import data
from keras_ae.callbacks.checkpoint import below
from keras_ae.errors import CheckpointError, InputError
from keras_ae.files import atomic, refuse_links
from keras_ae.training import run_epochs
from keras_ae.tuning.oracles import oracle, tuned

ELBO, MSE = keras_tuner.Objective("val_elbo", "max"), keras_tuner.Objective("val_mse", "min")


class HyperModel(keras_tuner.HyperModel):
    """Builds models by name and value of what is tuned.

    Args:
        build: keyword arguments -> a compiled model.
        space: name -> a list of choices, or (low, high), from which values are drawn log-uniformly.

    >>> from functools import partial
    >>> import keras_tuner, keras_ae
    >>> from keras_ae import tuning
    >>> model = tuning.HyperModel(partial(keras_ae.conv_vae, (8, 8, 3), width=4), {"latent_dim": [2, 4]})
    >>> model.build(keras_tuner.HyperParameters()).latent_dim
    2
    """

    def __init__(self, build: Callable[..., keras.Model], space: dict[str, list | tuple]):
        super().__init__()
        self.build_model = build
        self.space = space

    def build(self, hp):
        return self.build_model(**{name: _declare(hp, name, choices) for name, choices in self.space.items()})

    def declare_hyperparameters(self, hp):
        for name, choices in self.space.items():
            _declare(hp, name, choices)


class Search(keras_tuner.Tuner):
    """Trains a model for each trial, in a folder of its own. A search that was stopped resumes in its folder.

    KerasTuner's environment variables make it a chief or a worker.

    Args:
        build, space: as `HyperModel` takes them; `build` also gets `epochs`, over which the learning rate decays.
        dataset: its test images are not looked at.
        folder: of the search.
        epochs: of a trial, at most.
        method: "grid", "random", "bayesian" or "hyperband".
        trials: at most, of "random" and "bayesian".
        objective: `ELBO` or `MSE`.
        patience: epochs without a lower validation loss that end a trial.
        time_limit: seconds after which no trial is begun.
        seed: of the search.
        fit: more arguments of `keras_ae.train`.

    Raises:
        InputError: "grid" is to search a range, or "hyperband" too few choices. What the folder keeps is damaged, of
            another search, or a link.

    >>> import tempfile
    >>> from functools import partial
    >>> from keras_ae import data, tuning
    >>> shapes = data.load("shapes", image_size=(8, 8), limit=40)
    >>> build = partial(tuning.build_vae, shapes, width=4)
    >>> search = tuning.Search(build, {"latent_dim": [2, 3]}, shapes, tempfile.mkdtemp(), epochs=1)
    >>> search.search()
    trial 1/2 | latent_dim 2 | val_elbo ... s | ETA ... min
    trial 2/2 | latent_dim 3 | val_elbo ... s | ETA 0 min
    >>> tuning.tuned(search.best()).keys()
    dict_keys(['latent_dim'])
    """

    def __init__(
        self,
        build: Callable[..., keras.Model],
        space: dict[str, list | tuple],
        dataset: data.Dataset,
        folder: Path | str,
        *,
        epochs: int,
        method: str = "grid",
        trials: int = 20,
        objective: keras_tuner.Objective = ELBO,
        patience: int | None = None,
        time_limit: float = math.inf,
        seed: int = 0,
        fit: dict | None = None,
    ):
        chosen = oracle(method, space, objective, trials, epochs, seed)
        chosen.deadline = time.time() + time_limit
        chosen.declared = keras_tuner.HyperParameters()
        hypermodel = HyperModel(build, space)
        hypermodel.declare_hyperparameters(chosen.declared)
        refuse_links(Path(folder))
        self.dataset = dataset
        self.folder = Path(folder)
        self.epochs = epochs
        self.patience = patience
        self.fit_arguments = fit or {}
        super().__init__(chosen, hypermodel, directory=str(folder), project_name="trials")
        self.local_oracle = chosen  # a worker's `oracle` is the chief's
        chosen.start()

    def _populate_initial_space(self):
        """Without building a model to see what it asks for."""
        space = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(space)
        self.oracle.update_space(space)

    def search(self) -> None:
        """Runs trials until none is left. The reason of a trial that fails is saved with it."""
        keras_tuner.src.config.DEBUG = False  # no traceback of each trial that fails
        try:
            super().search(verbose=0)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ from None

    def run_trial(self, trial, **_):
        try:
            return self._train(trial)
        except CheckpointError as error:  # no fault of the trial
            raise keras_tuner.errors.FatalError(str(error)) from error
        except Exception as error:  # out of memory, not finite, an impossible size: the search continues
            reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:200]
            with atomic(self.local_oracle.reason_file(trial)) as path:
                path.write_text(reason)
            raise keras_tuner.errors.FailedTrialError(reason) from error

    def _train(self, trial) -> dict:
        started = time.time()
        policy = keras.config.dtype_policy()
        keras.utils.clear_session()
        keras.config.set_dtype_policy(policy)
        gc.collect()
        epochs = trial.hyperparameters.values.get("tuner/epochs", self.epochs)
        model = self.hypermodel.build_model(**tuned(trial), epochs=epochs)
        history = run_epochs(
            model,
            self.dataset,
            self.get_trial_dir(trial.trial_id),
            epochs=epochs,
            patience=self.patience,
            verbose=False,
            **self.fit_arguments,
        )
        sign = -1 if self.oracle.objective.direction == "max" else 1
        best = min(history, key=lambda row: below(sign * row[self.oracle.objective.name]))
        validation = {name: value for name, value in best.items() if name.startswith("val_")}
        return validation | {
            "best_epoch": best["epoch"],
            "parameters": model.count_params(),
            "seconds": time.time() - started,
        }

    def save(self):
        """Its own state is empty. That the file exists tells KerasTuner to continue with what the oracle has saved."""
        if not self._is_worker():
            self.oracle.save()
        with atomic(Path(self._get_tuner_fname())) as path:
            path.write_text("{}")

    def reload(self):
        if not self._is_worker():
            self.oracle.reload()

    def _get_tuner_fname(self):
        return str(Path(self.project_dir) / "tuner.json")  # one, also of a chief and workers

    def trials(self) -> list:
        """All that have ended, in their order."""
        return [self.local_oracle.trials[trial_id] for trial_id in self.local_oracle.end_order]

    def reason(self, trial) -> str:
        """Why a trial failed, in one line."""
        return self.local_oracle.reason(trial)

    def best(self):
        """The completed trial with the best objective.

        Raises:
            InputError: there is none.
        """
        done = [trial for trial in self.trials() if trial.status == TrialStatus.COMPLETED]
        if not done:
            last = f"the last one failed with: {self.reason(self.trials()[-1])}" if self.trials() else "none has ended"
            raise InputError(f"no trial was completed; {last}")
        return (max if self.local_oracle.objective.direction == "max" else min)(done, key=lambda trial: trial.score)


def _declare(hp, name, choices):
    if isinstance(choices, list):
        return hp.Choice(name, choices, ordered=not isinstance(choices[0], str))
    number = hp.Int if all(isinstance(bound, int) for bound in choices) else hp.Float
    return number(name, *choices, sampling="log")
