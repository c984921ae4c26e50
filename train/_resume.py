"""What --resume takes from the folder of a run, and what it asks for again.

A folder may come from a stranger. Its flags are read as if they were typed, and none of them names what is downloaded,
opened or written: the user does.
"""

import contextlib
import json
import shlex
import sys
from pathlib import Path

from _types import as_arguments

AGAIN = (
    "resume",
    "dataset",
    "output",
    "start_from",
    "features",
    "data_dir",
    "cache_dir",
    "devices",
)  # given again, or not needed
GENERATED = "shapes"  # the data set that reads nothing
LIMIT = 2**24  # bytes of a config.json


def check_arguments(parser, args) -> None:
    """Returns if nothing is given but what has to be, and takes over the backend, which Keras must know first.

    What is wrong with the folder, `runs.resume` says.
    """
    defaults = vars(parser.parse_args([]))
    if others := [name for name, value in vars(args).items() if value != defaults[name] and name not in AGAIN]:
        parser.error(f"--resume continues with the run's own flags; leave out {', '.join(sorted(others))}")
    config = args.resume / "config.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if config.is_file() and config.stat().st_size <= LIMIT:
            args.backend = json.loads(config.read_text())["flags"]["backend"]


def take_flags(parser, args) -> None:
    """Sets the arguments to the flags of the run, but for those that are given again."""
    from keras_ae import runs

    flags = runs.resume(args.resume, args.output)
    parser.source = f"{args.resume / runs.CONFIG}: "
    own = {name: value for name, value in flags.items() if name not in (*AGAIN, "run_dir")}
    own = vars(parser.parse_args(as_arguments(parser, own)))
    _check_places(args, {name: str(flags[name]) for name in AGAIN if flags.get(name)})
    vars(args).update({name: value for name, value in own.items() if name not in AGAIN})


def _check_places(args, begun: dict[str, str]) -> None:
    """Returns if the user has named what the run was begun with, and no other data set."""
    from keras_ae import InputError

    needed = {name: begun.get(name) for name in ("dataset", "output", "start_from", "features")}
    if has_checkpoint(args.resume):
        del needed["start_from"]
    if needed["dataset"] == GENERATED:
        del needed["dataset"]
    given = {name: value for name, value in vars(args).items() if value and (name, value) != ("dataset", GENERATED)}
    missing = {name: value for name, value in needed.items() if value and name not in given}
    if missing:
        raise InputError(
            f"{args.resume} was begun with {shlex.join(_options(missing))}; "
            f"resume with: {command(args.resume, missing | given)}"
        )
    for name in ("start_from", "features"):
        if vars(args).get(name) and name not in begun:
            raise InputError(f"{args.resume} was not begun with --{name.replace('_', '-')}; leave it out")
    if not _same_dataset(args.dataset, begun.get("dataset", GENERATED)):
        raise InputError(
            f"{args.resume} was begun with --dataset {begun['dataset']}, now it is {args.dataset}; "
            "give the same data set, or start a new run"
        )


def _same_dataset(now: str, begun: str) -> bool:
    """A folder may have moved."""
    from keras_ae import runs

    now = runs.plain({"dataset": now})["dataset"]
    return now == begun or (Path(now).is_absolute() and Path(begun).is_absolute())


def command(folder: Path, places: dict) -> str:
    """The command that resumes a run, ready for a shell."""
    places = {name: places.get(name) for name in AGAIN if name != "resume"}
    if places["dataset"] == GENERATED:
        del places["dataset"]
    if has_checkpoint(folder):
        del places["start_from"]
    script = f"train/{Path(sys.argv[0]).name}"
    return shlex.join(["python", script, "--resume", str(folder), *_options(places)])


def has_checkpoint(folder: Path | None) -> bool:
    return folder is not None and (folder / "checkpoint.npz").exists()


def _options(places: dict) -> list[str]:
    options = ((f"--{name.replace('_', '-')}", str(value)) for name, value in places.items() if value)
    return [text for option in options for text in option]
