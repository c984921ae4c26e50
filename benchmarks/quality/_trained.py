"""Models that the training scripts make, each in a run folder of its own: started, resumed, or there already."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import _setup

SCRIPTS = _setup.ROOT / "train"


def parser(text: str, dataset: str) -> _setup.flags.Parser:
    """The flags of every experiment that trains. What follows `--` goes to the training script."""
    parser = _setup.parser(text, dataset)
    parser.usage = "%(prog)s --runs DIR [flags] [-- flags of the training script]"
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="where the runs are, or will be")
    parser.add_argument("flags", nargs="*", metavar="-- FLAG", help="flags of the training script, for every run")
    return parser


def train(script: str, args, name: str, *more) -> tuple[Path, float]:
    """Trains in `args.runs/name` with the flags of `args` and `more`: starts, resumes, or sees that it is done.

    Returns:
        The model's file, and the seconds that the script has run.
    """
    folder, notes = args.runs / name, args.runs / f"{name}.json"
    limit = ["--limit", args.limit] if args.limit else []
    asked = [script, "--dataset", args.dataset, "--backend", args.backend, *limit, *args.flags, *more]
    asked = [str(flag) for flag in asked]
    args.runs.mkdir(parents=True, exist_ok=True)
    note = json.loads(notes.read_text()) if notes.exists() else {"asked": asked, "seconds": 0.0}
    if note["asked"] != asked:
        sys.exit(f"{folder} was begun by {' '.join(note['asked'])}; give the same flags, or another --runs")
    model = folder / "model.keras"
    if not model.exists():
        begin = (
            ["--resume", folder, "--dataset", args.dataset] if folder.exists() else [*asked[1:], "--run-dir", folder]
        )
        print(f"{script} {name}", file=sys.stderr, flush=True)
        _run([script, *begin, *_places(args)], note, notes)
    return model, note["seconds"]


def _places(args) -> list:
    places = {"--data-dir": args.data_dir, "--cache-dir": args.cache_dir}
    return [text for flag, place in places.items() if place for text in (flag, place)]


def _run(command: list, note: dict, notes: Path) -> None:
    """Runs the script to its end, and keeps the time. A signal stops both."""
    process = subprocess.Popen([sys.executable, SCRIPTS / command[0], *map(str, command[1:])], stdout=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both, and the script saves first
    before, started, code = note["seconds"], time.time(), None
    while code is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=30)
        note["seconds"] = before + time.time() - started
        notes.write_text(json.dumps(note))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if code:
        sys.exit(code)  # the script has said why
