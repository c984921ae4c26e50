"""The folder of a run: a new one, or one to go on with; what it keeps."""

import contextlib
import json
import os
import shutil
import time
import zlib
from pathlib import Path

import _flags

CONFIG = "config.json"
PLACES = ("data_dir", "cache_dir", "run_dir", "output", "resume", "start_from")


def check_output(parser: _flags.Parser, args) -> None:
    """Whatever is wrong with --output is better known before the training."""
    if args.output is None or (vars(args).get("resume") and args.output.exists()):
        return
    if args.output.suffix != ".keras":
        parser.error(f"--output {args.output} must end in .keras")
    if args.output.exists():
        parser.error(f"{args.output} exists already; choose another place with --output")
    if not os.access(next(parent for parent in args.output.absolute().parents if parent.exists()), os.W_OK):
        parser.error(f"cannot write {args.output}; choose another place with --output")


def open_run(args, model: str) -> tuple[Path, Path]:
    """The run's folder and the place of its model; a new folder keeps the flags in `config.json`.

    Raises:
        InputError: the folder exists or cannot be written, or the run that is to be resumed is finished.
    """
    from keras_ae import InputError

    name = Path(args.dataset).name
    default = Path("runs") / f"{model}-{name}-{args.backend}-{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir = args.resume or args.run_dir or default
    output = args.output or run_dir / "model.keras"
    if args.resume:
        if output.exists():
            raise InputError(f"{run_dir} is finished: {output} exists already; sample from it, or start a new run")
        return run_dir, output
    if run_dir.exists():
        raise InputError(f"{run_dir} exists already; choose another with --run-dir, or go on with --resume {run_dir}")
    _make(run_dir, plain(args))
    return run_dir, output


def _make(run_dir: Path, flags: dict) -> None:
    from keras_ae import InputError

    building = run_dir.with_name(f".{run_dir.name}.{os.getpid()}")
    try:
        building.mkdir(parents=True)
        write_config(building, flags)
        building.rename(run_dir)  # a run folder has its config.json from the start
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        raise InputError(f"cannot write {run_dir} ({error.strerror}); choose another with --run-dir") from error


def open_search(parser: _flags.Parser, run_dir: Path, flags: dict, wait: bool) -> None:
    """A new folder that keeps the flags; or one of the same flags, to go on in. A worker waits for the chief's."""
    while wait and not (run_dir / CONFIG).exists():
        time.sleep(1)
    if not run_dir.exists():
        _make(run_dir, flags)
        return
    kept = read_config(parser, run_dir)
    changed = [name for name in flags if kept.get(name) != flags[name]]
    if changed:
        name = changed[0].replace("_", "-")
        parser.error(
            f"{run_dir} was begun with --{name} {kept.get(changed[0])}, now it is {flags[changed[0]]}; "
            "give the same flags to go on, or another --run-dir"
        )


def write_config(run_dir: Path, flags: dict) -> None:
    """Keeps the flags of a run, with a checksum."""
    (run_dir / CONFIG).write_text(json.dumps({"flags": flags, "crc32": _checksum(flags)}, indent=1))


def read_config(parser: _flags.Parser, run_dir: Path) -> dict:
    """The flags of a run; one line and exit code 2 if they are not as they were written."""
    path = run_dir / CONFIG
    try:
        config = json.loads(path.read_text())
        flags = config["flags"]
        if config["crc32"] != _checksum(flags):
            raise ValueError("checksum")
    except OSError as error:
        parser.error(f"{path} cannot be read ({error.strerror}); give the folder of a run")
    except (ValueError, KeyError, TypeError, RecursionError):
        parser.error(f"{path} is damaged or was changed; the flags of a run stay as they are. Start a new run")
    return flags


def _checksum(flags: dict) -> int:
    return zlib.crc32(json.dumps(flags, sort_keys=True).encode())


@contextlib.contextmanager
def lock(run_dir: Path):
    """Keeps other processes out of the run's folder; the system takes the lock from a process that dies.

    Raises:
        InputError: another process is in it.
    """
    from filelock import FileLock, Timeout

    from keras_ae import InputError

    process = run_dir / ".process"
    try:
        with FileLock(run_dir / ".lock", blocking=False):
            process.write_text(str(os.getpid()))
            yield
    except Timeout as error:
        raise InputError(f"{run_dir} is in use by process {process.read_text()}; wait for it, or stop it") from error


def take_flags(parser: _flags.Parser, args) -> None:
    """Sets the flags kept in the run of --resume; only where the data lies may be said anew."""
    anew = {"resume", "data_dir", "cache_dir"}
    given = {name for name, value in vars(args).items() if value != parser.get_default(name)} - anew
    if given:
        parser.error(f"--resume goes on with the run's own flags; leave out {', '.join(sorted(given))}")
    for name, value in read_config(parser, args.resume).items():
        if name not in anew or getattr(args, name) is None:
            setattr(args, name, value)
    args.image_size = tuple(args.image_size) if args.image_size else None
    args.output = Path(args.output) if args.output else None


def start_from(model, file: Path) -> None:
    """Sets the model's weights to those of a saved one; blocks stay the identity that they are where it has none.

    Raises:
        InputError: the file does not load, or its model has other weights.
    """
    from keras_ae import InputError, load_model
    from keras_ae.networks.conv import of_block

    saved = load_model(file)
    weights, found = model.weights, saved.weights
    if not any(map(of_block, found)):
        weights = [weight for weight in weights if not of_block(weight)]
    if [weight.shape for weight in found] != [weight.shape for weight in weights] or [
        layer.name.rstrip("_0123456789") for layer in saved.layers
    ] != [layer.name.rstrip("_0123456789") for layer in model.layers]:
        raise InputError(f"{file} holds another model; give the same image size, code, width, blocks, classes and task")
    for weight, value in zip(weights, saved.get_weights(), strict=True):
        weight.assign(value)


def metadata(args, dataset, model: str) -> dict:
    """What a user of the saved file needs to know."""
    import keras

    import keras_ae

    return {
        "model": model,
        "dataset": args.dataset,
        "class_names": dataset.class_names,
        "image_shape": dataset.image_shape,
        "flags": {name: value for name, value in plain(args).items() if name not in PLACES},
        "versions": {"keras_ae": keras_ae.__version__, "keras": keras.__version__},
    }


def plain(args) -> dict:
    """The flags as they come back from JSON; paths are absolute, so that a run goes on from any folder."""
    flags = {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in vars(args).items()}
    for name in ("data_dir", "cache_dir"):
        flags[name] = flags[name] and str(Path(flags[name]).absolute())
    if Path(args.dataset).is_dir():
        flags["dataset"] = str(Path(args.dataset).absolute())
    return json.loads(json.dumps(flags))
