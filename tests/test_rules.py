"""Rules of the house that a reader of the code relies on."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FRAMEWORKS = {"tensorflow", "jax", "torch"}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_backends_import_a_framework():
    files = [*ROOT.glob("keras_ae/**/*.py"), *ROOT.glob("train/*.py")]
    assert len(files) > 20
    offenders = [
        str(path.relative_to(ROOT))
        for path in files
        if path.parent.name != "backends" and {name.split(".")[0] for name in _imports(path)} & FRAMEWORKS
    ]
    assert not offenders


def test_backends_have_the_same_functions():
    public = {}
    for path in ROOT.glob("keras_ae/backends/[a-z]*.py"):
        functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        public[path.stem] = {function.name for function in functions if not function.name.startswith("_")}
    assert public.keys() == FRAMEWORKS
    assert public["tensorflow"] == public["jax"] == public["torch"]


def test_rooms_import_only_what_lies_below():
    allowed = {
        "backends": set(),
        "data": {"backends", "errors"},
        "tasks": {"data", "errors", "objectives"},
        "layers": {"backends"},
        "objectives": {"backends", "errors"},
        "models": {"backends", "errors", "layers", "objectives"},
        "callbacks": {"errors", "files", "images", "saving"},
    }
    for room, below in allowed.items():
        for path in ROOT.glob(f"keras_ae/{room}/*.py"):
            ours = {name.split(".")[1] for name in _imports(path) if name.startswith("keras_ae.")}
            assert ours <= below | {room}, path
