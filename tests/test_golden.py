"""What the code computed before is what it computes now: `tests/golden/make.py` says how the values were made."""

import json
import sys
import warnings

import numpy as np
import pytest

from tests.golden import make

VALUES = json.loads(make.VALUES.read_text())
STEPS = VALUES["steps"][make.BACKEND]
OUTCOMES = VALUES["outcomes"][make.BACKEND]


def near(actual, expected, what: str) -> None:
    """Equal to 1e-5 of the largest expected value; of dicts, what is expected. New code may log more."""
    if isinstance(expected, dict):
        assert expected.keys() <= actual.keys(), what
        for name in expected:
            near(actual[name], expected[name], f"{what}, {name}")
    elif isinstance(expected, list) and isinstance(expected[0], list):
        for number, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
            near(ours, theirs, f"{what}, number {number}")
    else:
        scale = np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * scale, err_msg=what)


def unclamped(expected: dict, settings: dict, before: int = 0) -> dict:
    """The values, whose validation loss was with free bits up to version 0.1: they shape the training only.

    Args:
        before: epochs that the version of then has run.
    """
    if "free_bits" not in settings:
        return expected
    rows = {name: np.array(values) for name, values in expected["history"].items()}
    loss = rows["val_reconstruction"] + rows["val_kl"]
    loss[:before] = rows["val_loss"][:before]
    history = expected["history"] | {"val_loss": loss.tolist()}
    test = {name: value for name, value in expected.get("test", {}).items() if name != "loss"}
    return expected | {"history": history} | ({"test": test} if test else {})


@pytest.mark.parametrize("likelihood", make.VAES)
def test_steps_of_a_vae(likelihood, tmp_path):
    near(make.vae_steps(likelihood, tmp_path), unclamped(STEPS[likelihood], make.VAES[likelihood]), likelihood)


@pytest.mark.parametrize("task", make.TASKS)
def test_steps_of_a_task(task, tmp_path):
    near(make.task_steps(task, tmp_path), STEPS[task], task)


@pytest.mark.parametrize("name", VALUES["files"])
def test_outputs_of_a_shipped_file(name):
    found, expected = make.file_outputs(name), dict(VALUES["files"][name])
    np.testing.assert_allclose(found.get("drawn", 0), expected.pop("drawn", 0), rtol=0, atol=1e-3, err_msg=name)
    near(found, expected, name)


@pytest.mark.parametrize("script", OUTCOMES)
def test_outcome_of_a_run_begun_before(script, tmp_path, monkeypatch):
    run = make.copied(script, tmp_path / "run")
    monkeypatch.syspath_prepend(make.ROOT / "train")
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the scripts set it
    # The scripts hide TensorFlow from other backends.
    monkeypatch.setitem(sys.modules, "tensorflow", sys.modules.get("tensorflow"))
    expected = unclamped(OUTCOMES[script], {"free_bits": 0.05}, before=1) if script == "vae" else OUTCOMES[script]
    near(make.resumed(script, run), expected, script)
