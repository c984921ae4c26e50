"""Rules of the house that a reader of the code relies on."""

import ast
import graphlib
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOORS = {"models": {"keras_ae.evaluation.likelihood.log_likelihoods"}}  # opened inside a method
FRAMEWORKS = {path.stem for path in ROOT.glob("keras_ae/backends/[a-z]*.py")}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _floors() -> dict[str, int]:
    """Room -> floor, from the table of CONTRIBUTING.md."""
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"\w+", rooms)}


def _rooms() -> dict[str, list[Path]]:
    """Room -> its files: a folder of the package, or a module that is one by itself."""
    rooms = {}
    for path in ROOT.glob("keras_ae/**/*.py"):
        inside = path.relative_to(ROOT / "keras_ae")
        if inside.name != "__init__.py" or len(inside.parts) > 1:
            rooms.setdefault(inside.parts[0].removesuffix(".py"), []).append(path)
    return rooms


def _neighbours(room: str) -> set[str]:
    """The other rooms that a room imports."""
    names = {name for path in _rooms()[room] for name in _imports(path) if name.startswith("keras_ae.")}
    return {name.split(".")[1] for name in names - DOORS.get(room, set())} - {room}


def test_only_backends_import_a_framework():
    files = [*ROOT.glob("keras_ae/**/*.py"), *ROOT.glob("train/*.py")]
    assert len(files) > 20
    offenders = [
        str(path.relative_to(ROOT))
        for path in files
        if "backends" not in path.parts and {name.split(".")[0] for name in _imports(path)} & FRAMEWORKS
    ]
    assert not offenders


def test_backends_have_the_same_functions():
    offered = {name for name in _assigned(ROOT / "keras_ae/backends/__init__.py") if not name.startswith("_")}
    assert len(FRAMEWORKS) == 3
    for backend in FRAMEWORKS:
        steps, devices = (
            _functions(ROOT / "keras_ae/backends" / folder / f"{backend}.py") for folder in (".", "devices")
        )
        assert steps == offered - devices, backend
        assert offered - steps <= devices, backend  # which have more, for the steps of their own backend


def _functions(path: Path) -> set[str]:
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if not function.name.startswith("_")}


def _assigned(path: Path) -> set[str]:
    nodes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    return {target.id for node in nodes for target in node.targets}


def test_every_room_has_a_floor_and_every_floor_its_rooms():
    assert _floors().keys() == _rooms().keys()


def test_rooms_import_only_what_is_not_above_them():
    floors = _floors()
    for room in _rooms():
        above = {other for other in _neighbours(room) if floors[other] > floors[room]}
        assert not above, f"{room} imports {above}"


def test_no_two_rooms_import_each_other():
    graphlib.TopologicalSorter({room: _neighbours(room) for room in _rooms()}).prepare()


def test_nothing_imports_from_the_scripts():
    scripts = {path.stem for path in ROOT.glob("train/*.py")}
    for path in ROOT.glob("keras_ae/**/*.py"):
        assert not {name.split(".")[0] for name in _imports(path)} & scripts, path
