"""Sizes and rates found by KerasTuner: what is tuned, how trials are chosen, run and kept.

    search = Search(build, {"latent_dim": [8, 16, 32]}, dataset, "runs/tune", epochs=10)
    search.search()
    for trial in search.trials(): ...

Trials are compared by what does not move with what is tuned: the validation ELBO at weight 1 (a VAE) or the
validation MSE (an autoencoder), of each trial's best epoch.
"""

import gc
import itertools
import json
import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import keras
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_ae import data
from keras_ae.errors import CheckpointError, InputError
from keras_ae.files import atomic
from keras_ae.training import fit

CHECKSUM = "crc32"
ELBO, MSE = keras_tuner.Objective("val_elbo", "max"), keras_tuner.Objective("val_mse", "min")


class HyperModel(keras_tuner.HyperModel):
    """Builds models by name and value of what is tuned.

    Args:
        build: keyword arguments -> a compiled model.
        space: name -> a list of choices, or (low, high), from which values are drawn log-uniformly.
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


def _write(path: Path, state: dict) -> None:
    """With a checksum, which KerasTuner does not look at."""
    state = json.loads(json.dumps(state))
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({**state, CHECKSUM: _checksum(state)}))


def _check(path: Path) -> None:
    try:
        state = json.loads(path.read_text())
        if state.pop(CHECKSUM) == _checksum(state):
            return
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise InputError(f"{path} is damaged; delete the folder {path.parent} to search anew")


def _checksum(state: dict) -> int:
    return zlib.crc32(json.dumps(state, sort_keys=True).encode())


def _declare(hp, name, choices):
    if isinstance(choices, list):
        return hp.Choice(name, choices, ordered=True)
    number = hp.Int if all(isinstance(bound, int) for bound in choices) else hp.Float
    return number(name, *choices, sampling="log")


class _Kept:
    """Oracles whose files survive a kill at any moment, that stop in time and say how far they are."""

    deadline = math.inf
    expected = None  # trials in all
    tell = staticmethod(print)

    def populate_space(self, trial_id):
        if time.time() > self.deadline:
            return {"status": TrialStatus.STOPPED, "values": None}
        return super().populate_space(trial_id)

    def end_trial(self, trial):
        super().end_trial(trial)
        self.tell(self._line(self.trials[trial.trial_id]))

    def _line(self, trial):
        ended = len(self.end_order)
        line = f"trial {ended}" + (f"/{self.expected}" if self.expected else "")
        line += " | " + ", ".join(f"{name} {value:g}" for name, value in tuned(trial).items())
        if trial.status != TrialStatus.COMPLETED:
            return f"{line} | failed: {self.reason(trial)}"
        line += f" | {self.objective.name} {trial.score:.6g} | {results(trial)['seconds']:.0f} s"
        if self.expected:
            here = ended - self.ended_before
            rest = (time.time() - self.started) / here * max(0, self.expected - ended)
            line += f" | ETA {rest / 60:.0f} min"
        return line

    def reason(self, trial) -> str:
        """Why it failed, in one line."""
        file = self.reason_file(trial)
        return file.read_text() if file.exists() else "its objective is not finite"

    def reason_file(self, trial) -> Path:
        """A worker's message does not reach the chief otherwise."""
        return Path(self._get_trial_dir(trial.trial_id)) / "failed.txt"

    def save(self):
        _write(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial):
        _write(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def reload(self):
        folder = Path(self._project_dir)
        for path in (folder / "oracle.json", *folder.glob("trial_*/trial.json")):
            _check(path)
        super().reload()

    def start(self):
        """Takes up the trials that a kill has left, and starts the clock."""
        waiting = {*self._retry_queue, *self.end_order}
        self._retry_queue += [trial_id for trial_id in sorted(self.trials) if trial_id not in waiting]
        self.started, self.ended_before = time.time(), len(self.end_order)


class _Combinations(keras_tuner.Oracle):
    """All combinations, in their order. KerasTuner's own forgets where it was when it is stopped."""

    def populate_space(self, trial_id):
        tried = [tuned(trial) for trial in self.trials.values()]
        space = self.get_space().space
        for values in itertools.product(*(choice.values for choice in space)):
            values = dict(zip((choice.name for choice in space), values, strict=True))
            if values not in tried:
                return {"status": TrialStatus.RUNNING, "values": values}
        return {"status": TrialStatus.STOPPED, "values": None}


class Grid(_Kept, _Combinations):
    """All combinations, in their order."""


class Random(_Kept, keras_tuner.oracles.RandomSearchOracle):
    """Drawn from the space."""


class Bayesian(_Kept, keras_tuner.oracles.BayesianOptimizationOracle):
    """Where a Gaussian process expects the most."""


class Hyperband(_Kept, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, the best of them again and longer (Li et al. 2018); each from its start, with a learning
    rate that decays over its own epochs."""

    @staticmethod
    def first_rounds(epochs: int) -> int:
        """How many different trials it begins with, in all brackets."""
        top = int(math.log(epochs, 3) + 1e-9)
        return sum(math.ceil((top + 1) / (bracket + 1) * 3**bracket) for bracket in range(top + 1))


SEARCHES = {"grid": Grid, "random": Random, "bayesian": Bayesian, "hyperband": Hyperband}


class Search(keras_tuner.Tuner):
    """Trains a model for each trial, in a folder of its own, and goes on where a search in the folder stopped.

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
        fit: more arguments of `keras_ae.fit`.

    Raises:
        InputError: "grid" is to search a range, or "hyperband" too few choices; what the folder keeps is damaged.
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
        oracle = _oracle(method, space, objective, trials, epochs, seed)
        oracle.deadline = time.time() + time_limit
        self.dataset = dataset
        self.epochs = epochs
        self.patience = patience
        self.fit_arguments = fit or {}
        super().__init__(oracle, HyperModel(build, space), directory=str(folder), project_name="trials")
        self.kept = oracle  # a worker's `oracle` is the chief's
        oracle.start()

    def _populate_initial_space(self):
        """Without building a model to see what it asks for."""
        space = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(space)
        self.oracle.update_space(space)

    def search(self) -> None:
        """Runs trials until none is left; those that fail are kept with their reason."""
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
        except Exception as error:  # out of memory, not finite, an impossible size: the search goes on
            reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:200]
            self.kept.reason_file(trial).write_text(reason)
            raise keras_tuner.errors.FailedTrialError(reason) from error

    def _train(self, trial) -> dict:
        started = time.time()
        policy = keras.config.dtype_policy()
        keras.utils.clear_session()
        keras.config.set_dtype_policy(policy)
        gc.collect()
        epochs = trial.hyperparameters.values.get("tuner/epochs", self.epochs)
        model = self.hypermodel.build_model(**tuned(trial), epochs=epochs)
        history = fit(
            model,
            self.dataset,
            self.get_trial_dir(trial.trial_id),
            epochs=epochs,
            patience=self.patience,
            verbose=False,
            **self.fit_arguments,
        )
        sign = -1 if self.oracle.objective.direction == "max" else 1
        best = min(history, key=lambda row: sign * row[self.oracle.objective.name])
        found = {name: value for name, value in best.items() if name.startswith("val_")}
        return found | {
            "best_epoch": best["epoch"],
            "parameters": model.count_params(),
            "seconds": time.time() - started,
        }

    def save(self):
        """Its own state is empty; that the file is there tells KerasTuner to go on with what the oracle has kept."""
        if not self._is_worker():
            self.oracle.save()
        with atomic(Path(self._get_tuner_fname())) as path:
            path.write_text("{}")

    def _get_tuner_fname(self):
        return str(Path(self.project_dir) / "tuner.json")  # one, also of a chief and workers

    def trials(self) -> list:
        """All that have ended, in their order."""
        return [self.kept.trials[trial_id] for trial_id in self.kept.end_order]

    def reason(self, trial) -> str:
        """Why a trial failed, in one line."""
        return self.kept.reason(trial)

    def best(self):
        """The completed trial with the best objective.

        Raises:
            InputError: there is none.
        """
        done = [trial for trial in self.trials() if trial.status == TrialStatus.COMPLETED]
        if not done:
            last = f"the last one failed with: {self.reason(self.trials()[-1])}" if self.trials() else "none has ended"
            raise InputError(f"no trial was completed; {last}")
        return (max if self.kept.objective.direction == "max" else min)(done, key=lambda trial: trial.score)


def tuned(trial) -> dict:
    """What the trial tried, by name."""
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith("tuner/")}


def results(trial) -> dict[str, float]:
    """What a completed trial measured in its best epoch."""
    return {name: history.get_best_value() for name, history in trial.metrics.metrics.items()}


def _possibilities(choices) -> float:
    if isinstance(choices, list):
        return len(choices)
    low, high = choices
    return high - low + 1 if isinstance(low, int) else math.inf


def _oracle(method, space, objective, trials, epochs, seed):
    if method not in SEARCHES:
        raise InputError(f"unknown search '{method}'; known are {', '.join(SEARCHES)}")
    settings = {"objective": objective, "seed": seed + 1, "max_consecutive_failed_trials": 10**9}
    if method == "grid":
        if ranges := [name for name, choices in space.items() if not isinstance(choices, list)]:
            raise InputError(f"a grid needs choices of {', '.join(ranges)}, as 8,16,32; ranges are for other searches")
        oracle = Grid(**settings)
        oracle.expected = math.prod(len(choices) for choices in space.values())
    elif method == "hyperband":
        possible = math.prod(map(_possibilities, space.values()))
        if possible < Hyperband.first_rounds(epochs):
            raise InputError(
                f"hyperband begins with {Hyperband.first_rounds(epochs)} different trials and {possible} are possible; "
                "give a range, as 8:256, or fewer epochs"
            )
        oracle = Hyperband(max_epochs=epochs, **settings)
    else:
        oracle = SEARCHES[method](max_trials=trials, **settings)
        oracle.expected = trials
    return oracle
