"""Models that the training scripts make, each in a run folder of its own: begun, gone on with, or found done."""

import subprocess
import sys
import time
from pathlib import Path

import _cli

SCRIPTS = Path(__file__).parent.parent / "train"


def parser(description: str, dataset: str) -> _cli.Parser:
    """The flags of every experiment that trains; what follows `--` goes to the training script."""
    parser = _cli.Parser(description=description)
    _cli.add_backend(parser)
    _cli.add_data(parser, dataset)
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="where the runs are, or will be")
    parser.add_argument("flags", nargs="*", metavar="-- FLAG", help="flags of the training script, for every run")
    return parser


def train(script: str, args, name: str, *flags) -> tuple[Path, float]:
    """Trains with the flags of `args` and `flags` in `args.runs/name`, or goes on there, or finds it done.

    Returns the model's file, and the seconds of training until now.
    """
    folder = args.runs / name
    model, clock = folder / "model.keras", args.runs / f"{name}.seconds"
    args.runs.mkdir(parents=True, exist_ok=True)
    seconds = float(clock.read_text()) if clock.exists() else 0.0
    if model.exists():
        return model, seconds
    if folder.exists():
        command = ["--resume", folder, *_places(args)]
    else:
        command = ["--dataset", args.dataset, "--backend", args.backend, "--run-dir", folder, *_places(args)]
        command += [*(["--limit", args.limit] if args.limit else []), *args.flags, *flags]
    print(f"{script} {name}", file=sys.stderr, flush=True)
    started = time.time()
    try:
        code = subprocess.run([sys.executable, SCRIPTS / script, *map(str, command)], stdout=sys.stderr).returncode
    finally:
        seconds += time.time() - started
        clock.write_text(str(seconds))
    if code:
        sys.exit(code)  # the script has said why
    return model, seconds


def _places(args) -> list:
    return [
        text
        for name in ("data_dir", "cache_dir")
        if getattr(args, name)
        for text in (f"--{name.replace('_', '-')}", getattr(args, name))
    ]
