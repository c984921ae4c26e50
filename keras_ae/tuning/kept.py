"""What KerasTuner's files say is compared with the search before it is used: a folder may come from a stranger."""

import json
import math
from collections.abc import Callable
from pathlib import Path

from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src.engine.hyperparameters.hp_types import Choice, Int

from keras_ae.errors import InputError
from keras_ae.files import read_json

# Of an oracle, what its arguments make and no trial changes
FIXED = ("seed", "hyperband_iterations", "max_epochs", "min_epochs", "factor", "num_initial_points", "alpha", "beta")
STATUSES = (TrialStatus.RUNNING, TrialStatus.COMPLETED, TrialStatus.FAILED, TrialStatus.INVALID)
MEASURED = ("best_epoch", "parameters", "seconds")  # of every completed trial, with the objective


def check_files(folder: Path, oracle, space) -> None:
    """Returns if the files of a search are as it wrote them, or as it could have written them.

    Args:
        oracle: not yet loaded from them.
        space: the `HyperParameters` that are tuned.

    Raises:
        InputError: a file is damaged, or says what no search writes.
    """
    trials = {}
    for path in sorted(folder.glob("trial_*/trial.json")):
        trials[path.parent.name.removeprefix("trial_")] = _content(path)
    for number, trial in trials.items():
        judge(folder / f"trial_{number}" / "trial.json", _is_trial, number, trial, trials, oracle, space)
    path = folder / "oracle.json"
    state = _content(path)
    judge(path, _is_oracle, state, trials, oracle, space)


def _content(path: Path) -> dict:
    try:
        return read_json(path)
    except ValueError as error:
        raise _damaged(path) from error


def judge(path: Path, is_right: Callable[..., bool], *arguments) -> None:
    """Returns if what a file says is right; where it is not what was looked for, it is not."""
    try:
        right = is_right(*arguments)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, RuntimeError):
        right = False
    if not right:
        raise _damaged(path)


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is damaged, or of another search; delete the folder {path.parent} and start the search again"
    )


def _is_trial(number: str, trial: dict, trials: dict, oracle, space) -> bool:
    completed = trial["status"] == TrialStatus.COMPLETED
    metrics = {name: _is_metric(metric, completed) for name, metric in trial["metrics"]["metrics"].items()}
    return (
        number.isascii()
        and number.isdecimal()
        and trial["trial_id"] == number
        and trial["status"] in STATUSES
        and _by_name(trial["hyperparameters"]["space"]) == _by_name(_plain(space.get_config())["space"])
        and _are_values(trial["hyperparameters"]["values"], trials, oracle, space)
        and all(metrics.values())
        and (not completed or _is_complete(trial, oracle))
        and (trial["score"] is None or _is_number(trial["score"], finite=completed))
        and (trial["best_step"] is None or _is_whole(trial["best_step"], 0, math.inf))
        and isinstance(trial["message"], str | None)
    )


def _is_metric(metric: dict, finite: bool) -> bool:
    """The objective of a trial that failed may be no number."""
    values = [value for observed in metric["observations"] for value in observed["value"]]
    steps = [observed["step"] for observed in metric["observations"]]
    return (
        metric["direction"] in ("min", "max")
        and all(_is_number(value, finite) for value in values)
        and all(_is_whole(step, 0, math.inf) for step in steps)
    )


def _is_complete(trial: dict, oracle) -> bool:
    metrics = trial["metrics"]["metrics"].items()
    measured = {name: metric["observations"][0]["value"][0] for name, metric in metrics}
    return (
        {*MEASURED, oracle.objective.name} <= measured.keys()
        and trial["score"] is not None
        and measured["best_epoch"] in range(1, oracle.epochs + 1)
    )


def _are_values(values: dict, trials: dict, oracle, space) -> bool:
    """Each in its choices or its range, and what hyperband adds of its rounds."""
    rounds = {name: value for name, value in values.items() if name.startswith("tuner/")}
    return (
        values.keys() - rounds.keys() == {choice.name for choice in space.space}
        and all(_is_in(values[choice.name], choice) for choice in space.space)
        and _are_rounds(rounds, trials, oracle)
    )


def _is_in(value, choice) -> bool:
    if isinstance(choice, Choice):
        return any(type(value) is type(one) and value == one for one in choice.values)
    if isinstance(choice, Int):
        return _is_whole(value, choice.min_value, choice.max_value)
    return _is_number(value) and choice.min_value * (1 - 1e-9) <= value <= choice.max_value * (1 + 1e-9)


def _are_rounds(rounds: dict, trials: dict, oracle) -> bool:
    limits = {"epochs": (1, oracle.epochs), "initial_epoch": (0, oracle.epochs), "bracket": (0, 99), "round": (0, 99)}
    limits = {f"tuner/{name}": limit for name, limit in limits.items()} if hasattr(oracle, "max_epochs") else {}
    before = rounds.pop("tuner/trial_id", None)
    return (
        rounds.keys() == limits.keys()
        and all(_is_whole(rounds[name], *limit) for name, limit in limits.items())
        and (before is None or (bool(limits) and before in trials))
    )


def _is_oracle(state: dict, trials: dict, oracle, space) -> bool:
    fresh = _plain(oracle.get_state())
    known = [*state["start_order"], *state["end_order"], *state["retry_queue"], *state["ongoing_trials"].values()]
    known += [*state["run_times"], *state["id_to_hash"]]
    return (
        fresh.keys() <= state.keys()
        and all(state[name] == fresh[name] for name in FIXED if name in fresh)
        and all(isinstance(state[name], list) for name in ("start_order", "end_order", "retry_queue", "tried_so_far"))
        and all(number in trials for number in known)
        and len(set(state["end_order"])) == len(state["end_order"])
        and _by_name(state["hyperparameters"]["space"]) == _by_name(_plain(space.get_config())["space"])
        and _is_whole(state["seed_state"], 0, 2**63)
        and all(_is_whole(times, 0, 2**31) for times in state["run_times"].values())
        and all(isinstance(text, str) for text in state["tried_so_far"])
        and all(isinstance(text, str | None) for text in state["id_to_hash"].values())
        and ("brackets" not in fresh or _are_brackets(state, trials, oracle))
    )


def _are_brackets(state: dict, trials: dict, oracle) -> bool:
    top = oracle._get_num_brackets()
    infos = [info for bracket in state["brackets"] for started in bracket["rounds"] for info in started]
    return (
        _is_whole(state["current_bracket"], 0, top - 1)
        and _is_whole(state["current_iteration"], 0, oracle.hyperband_iterations)
        and all(_is_whole(bracket["bracket_num"], 0, top - 1) for bracket in state["brackets"])
        and all(len(bracket["rounds"]) == bracket["bracket_num"] + 1 for bracket in state["brackets"])
        and all(info["id"] in trials and info["past_id"] in (None, *trials) for info in infos)
    )


def _by_name(space: list[dict]) -> dict[str, dict]:
    """What is tuned, without the defaults, which a worker fills in."""
    return {entry["config"]["name"]: entry | {"config": entry["config"] | {"default": None}} for entry in space}


def _is_number(value, finite: bool = True) -> bool:
    return type(value) in (int, float) and (not finite or math.isfinite(value))


def _is_whole(value, low: float, high: float) -> bool:
    return type(value) is int and low <= value <= high


def _plain(content):
    """As it comes back from a file."""
    return json.loads(json.dumps(content))
