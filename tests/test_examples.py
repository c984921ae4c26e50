"""The examples of the docstrings run, and every public name has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import keras_ae
from tests.helpers import once

ROOMS = (
    "callbacks",
    "data",
    "evaluation",
    "exports",
    "layers",
    "networks",
    "objectives",
    "optimizers",
    "pictures",
    "saving",
    "tuning",
)


def _modules():
    for info in pkgutil.walk_packages(keras_ae.__path__, "keras_ae."):
        if not info.name.startswith("keras_ae.backends."):  # of which only one can be imported
            yield importlib.import_module(info.name)


def _examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for module in _modules() for test in finder.find(module, module.__name__)]
    return {test.name: test for test in tests if test.examples}


def _public():
    """Dotted name -> function, class or public method."""
    for room in ("", *ROOMS):
        module = importlib.import_module(f"keras_ae.{room}".rstrip("."))
        names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
        for name in names:
            member = getattr(module, name)
            if not inspect.isfunction(member) and not inspect.isclass(member):
                continue
            if member.__module__.startswith("keras_ae."):
                yield f"{room}.{name}".lstrip("."), member
    for name in ("sample", "encode", "decode", "reconstruct", "interpolate", "traverse", "complete"):
        yield f"VAE.{name}", getattr(keras_ae.VAE, name)


EXAMPLES = _examples()


@once("examples are for readers; the tests of each room run on every backend")
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    messages = []
    runner.run(EXAMPLES[name], out=messages.append)
    assert not runner.failures, "".join(messages)


def test_every_public_name_has_an_example():
    without = {name for name, member in _public() if ">>>" not in (inspect.getdoc(member) or "")}
    assert not without
