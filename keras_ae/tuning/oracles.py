"""How the next trial is chosen: KerasTuner's oracles, in files that survive kills and damage."""

import itertools
import math
import time
from pathlib import Path

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_ae.errors import InputError, one_of, printable
from keras_ae.files import write_json
from keras_ae.tuning.kept import check_files, judge


class _Reliable:
    """Oracles whose files survive a kill at any moment, that stop in time and say how far they are."""

    deadline = math.inf
    expected = None  # trials in all
    epochs = None  # of a trial, at most
    declared = None  # what is tuned, as KerasTuner's `HyperParameters`
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
        line += " | " + ", ".join(f"{name} {as_text(value)}" for name, value in tuned(trial).items())
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
        return printable(file.read_text()) if file.exists() else "its objective is not finite"

    def reason_file(self, trial) -> Path:
        """A worker's message does not reach the chief otherwise."""
        return Path(self._get_trial_dir(trial.trial_id)) / "failed.txt"

    def save(self):
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial):
        write_json(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def reload(self):
        folder = Path(self._project_dir)
        check_files(folder, self, self.declared)
        judge(folder / "oracle.json", lambda: super(_Reliable, self).reload() is None)
        self.hyperparameters = self.declared.copy()

    def start(self):
        """Queues the trials that a kill interrupted, and starts the clock."""
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


class Grid(_Reliable, _Combinations):
    """All combinations, in their order."""


class Random(_Reliable, keras_tuner.oracles.RandomSearchOracle):
    """Drawn from the space."""


class Bayesian(_Reliable, keras_tuner.oracles.BayesianOptimizationOracle):
    """Where a Gaussian process expects the most."""


class Hyperband(_Reliable, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, the best of them again and longer (Li et al. 2018); each from its start, with a learning
    rate that decays over its own epochs."""

    @staticmethod
    def first_rounds(epochs: int) -> int:
        """How many different trials it begins with, in all brackets."""
        top = int(math.log(epochs, 3) + 1e-9)
        return sum(math.ceil((top + 1) / (bracket + 1) * 3**bracket) for bracket in range(top + 1))


SEARCHES = {"grid": Grid, "random": Random, "bayesian": Bayesian, "hyperband": Hyperband}


def oracle(method, space, objective, trials, epochs, seed):
    """The oracle of a search; its arguments are those of `Search`."""
    one_of(method, SEARCHES, "search")
    settings = {"objective": objective, "seed": seed + 1, "max_consecutive_failed_trials": 10**9}
    if method == "grid":
        if ranges := [name for name, choices in space.items() if not isinstance(choices, list)]:
            raise InputError(f"a grid needs choices of {', '.join(ranges)}, as 8,16,32; ranges are for other searches")
        chosen = Grid(**settings)
        chosen.expected = math.prod(len(choices) for choices in space.values())
    elif method == "hyperband":
        possible = math.prod(map(_possibilities, space.values()))
        if possible < Hyperband.first_rounds(epochs):
            raise InputError(
                f"hyperband begins with {Hyperband.first_rounds(epochs)} different trials and {possible} are possible; "
                "give a range, as 8:256, or fewer epochs"
            )
        chosen = Hyperband(max_epochs=epochs, **settings)
    else:
        chosen = SEARCHES[method](max_trials=trials, **settings)
        chosen.expected = trials
    chosen.epochs = epochs
    return chosen


def as_text(value) -> str:
    """A number in few digits, or a name.

    >>> as_text(0.00030000001), as_text("vamp:500")
    ('0.0003', 'vamp:500')
    """
    return value if isinstance(value, str) else f"{value:g}"


def tuned(trial) -> dict:
    """What the trial tried, by name.

    >>> from keras_tuner.engine.trial import Trial
    >>> from keras_tuner import HyperParameters
    >>> values = HyperParameters()
    >>> values.Fixed("latent_dim", 8)
    8
    >>> tuned(Trial(values))
    {'latent_dim': 8}
    """
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith("tuner/")}


def results(trial) -> dict[str, float]:
    """What a completed trial measured in its best epoch.

    >>> from keras_tuner.engine.trial import Trial
    >>> from keras_tuner import HyperParameters
    >>> trial = Trial(HyperParameters())
    >>> trial.metrics.register("val_elbo", "max")
    >>> _ = trial.metrics.update("val_elbo", -20.5, step=0)
    >>> results(trial)
    {'val_elbo': -20.5}
    """
    return {name: float(history.get_best_value()) for name, history in trial.metrics.metrics.items()}


def _possibilities(choices) -> float:
    if isinstance(choices, list):
        return len(choices)
    low, high = choices
    return high - low + 1 if isinstance(low, int) else math.inf
