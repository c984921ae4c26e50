"""python -m tests.mutations [files...]: changes the code in one place after another. Would the tests notice?

A change is a mutant. One that fails a test is caught; one that passes them all survives, and asks for a test, or is
equivalent: nothing that anyone can see has changed. cosmic-ray makes the mutants. The tests run on PyTorch, in forks of
one process that has imported the frameworks already, each on a private copy of the tree.

    nice -n 19 python -m tests.mutations keras_ae/objectives --results mutants.jsonl
    python -m tests.mutations --sample 8          8 mutants of each file, drawn by --seed

A second call skips what the results hold. To try the survivors again, delete their lines.
"""

import argparse
import ast
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

# Before the frameworks are imported. A fork may use one thread only.
os.environ.update(KERAS_BACKEND="torch", OMP_NUM_THREADS="1", MPLBACKEND="agg")

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "keras_ae"

# A file or folder of keras_ae -> the tests that look at it, cheapest first.
TESTS = {
    "objectives": ["objectives", "models", "test_tasks.py", "evaluation"],
    "latents": ["objectives", "models", "evaluation"],
    "priors": ["priors", "models", "evaluation"],
    "evaluation": ["evaluation", "test_tasks.py"],
    "members.py": ["scripts/test_members.py", "test_scripts.py"],
    "layers": ["layers", "models"],
    "models": ["models", "test_tasks.py", "test_training.py"],
    "data/corruption.py": ["data/test_corruption.py", "test_tasks.py", "models"],
    "tasks.py": ["test_tasks.py", "models", "test_pictures.py", "evaluation"],
    "backends/torch.py": [
        "backends/test_torch.py",
        "models",
        "layers",
        "test_training.py",
        "data/test_data.py",
        "faults/test_numbers.py",
    ],
    "saving": ["test_saving.py", "trust/test_trust.py", "models", "faults/test_disk.py"],
    "trust": ["trust"],
}

# The likeliest slips, one or two for each operator.
BINARY = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_FloorDiv Pow_Mul BitOr_BitAnd BitAnd_BitOr"
COMPARISON = "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
UNARY = "Delete_USub Delete_Invert Delete_Not"
OPERATORS = [
    *(f"ReplaceBinaryOperator_{change}" for change in BINARY.split()),
    *(f"ReplaceComparisonOperator_{change}" for change in COMPARISON.split()),
    *(f"ReplaceUnaryOperator_{change}" for change in UNARY.split()),
    *("NumberReplacer", "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ZeroIterationForLoop"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
]

NOT_PYTHON = "not Python"


def mutants(path: Path):
    """Yields (what has changed where, the whole mutated file)."""
    source = path.read_text()
    behaviour = without_annotations(source)
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        occurrence = 0
        while (code := mutate_code(source, operator, occurrence)) is not None:
            occurrence += 1
            if without_annotations(code) not in (behaviour, NOT_PYTHON):
                yield {"file": str(path.relative_to(ROOT)), **changed_line(source, code)}, code


def without_annotations(source: str) -> str:
    """What the file does: a changed type hint is no mutant, nor is a `*` between parameters."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return NOT_PYTHON
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arguments):
            node.posonlyargs, node.args, node.kwonlyargs = [], node.posonlyargs + node.args + node.kwonlyargs, []
            node.defaults, node.kw_defaults = [], node.defaults + [default for default in node.kw_defaults if default]
    return ast.dump(tree)


def changed_line(source: str, code: str) -> dict:
    before, after = source.splitlines(), code.splitlines()
    line = next(number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1])
    return {"line": line + 1, "before": before[line].strip(), "after": after[line].strip()}


def tests_of(file: str) -> list[str]:
    """The tests that look at a file: those of its own name first, then as the table has them."""
    looked_at = file.removeprefix("keras_ae/")
    patterns = next(tests for place, tests in TESTS.items() if looked_at.startswith(place))
    paths = [ROOT / "tests" / pattern for pattern in patterns]
    files = [test for path in paths for test in (sorted(path.glob("test_*.py")) if path.is_dir() else [path])]
    files.sort(key=lambda test: Path(file).stem not in test.stem)
    return [str(test.relative_to(ROOT)) for test in files]


def copied_tree(folder: Path) -> Path:
    """The tree with a package and tests of its own; what is large and only read is linked."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name in ("keras_ae", "tests"):
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    return folder


def run_tests(tree: Path, tests: list[str], timeout: float = 3600) -> bool:
    """Whether all of them pass, in a fork. What does not end in time has failed."""
    child = os.fork()
    if not child:
        try:
            os._exit(pytest_in(tree, tests))
        finally:
            os._exit(1)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def pytest_in(tree: Path, tests: list[str]) -> int:
    os.setsid()
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path.insert(0, str(tree))
    sys.modules.pop("tests")
    log = os.open("log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp=temporary", *tests])


def work(queue: list, tree: Path, results: Path) -> None:
    """Tries one mutant after another, and appends what became of each."""
    seconds = {}
    for mutant, code in queue:
        tests = tests_of(mutant["file"])
        if str(tests) not in seconds:
            start = time.monotonic()
            if not run_tests(tree, tests):
                sys.exit(f"the tests fail without a mutant:\n{(tree / 'log.txt').read_text()[-2000:]}")
            seconds[str(tests)] = time.monotonic() - start
        path = tree / mutant["file"]
        original = path.read_text()
        path.write_text(code)
        caught = not run_tests(tree, tests, timeout=3 * seconds[str(tests)] + 20)
        path.write_text(original)
        # Python tells the next mutant of the same length and second from this one by nothing else.
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
        with results.open("a") as file:
            file.write(json.dumps({**mutant, "caught": caught}) + "\n")


def read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(rows: list[dict]) -> str:
    lines = []
    for file in sorted({row["file"] for row in rows}):
        survivors = [row for row in rows if row["file"] == file and not row["caught"]]
        count = sum(row["file"] == file for row in rows)
        lines.append(f"{file}: {count} mutants, {count - len(survivors)} caught, {len(survivors)} survived")
        for row in sorted(survivors, key=lambda row: row["line"]):
            lines += [f"  {row['line']:>4} - {row['before']}", f"       + {row['after']}"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=[PACKAGE / place for place in TESTS])
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants of each file (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which ones (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="at once (default: %(default)s)")
    parser.add_argument("--results", type=Path, default="mutants.jsonl", metavar="FILE", help="default: %(default)s")
    flags = parser.parse_args()

    # Warm for the forks.
    for name in ("keras", "scipy.stats", "skimage.metrics", "torch"):
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    paths = [path.resolve() for path in flags.files]
    files = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    seen = [{**row, "caught": None} for row in read(flags.results)]
    queue = []
    for file in files:
        drawn = list(mutants(file))
        random.Random(flags.seed).shuffle(drawn)
        queue += [(mutant, code) for mutant, code in drawn[: flags.sample] if {**mutant, "caught": None} not in seen]
    print(f"{len(queue)} mutants of {len(files)} files", flush=True)

    with tempfile.TemporaryDirectory(prefix="keras_ae-mutants-") as folder:
        fork, workers = multiprocessing.get_context("fork"), []
        for job in range(flags.jobs):
            tree = copied_tree(Path(folder) / str(job))
            workers.append(fork.Process(target=work, args=(queue[job :: flags.jobs], tree, flags.results)))
            workers[-1].start()
        for worker in workers:
            worker.join()
    print(table(read(flags.results)))
    if any(worker.exitcode for worker in workers):
        sys.exit(1)


if __name__ == "__main__":
    main()
