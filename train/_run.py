"""A run, from the compiled model to its summary: one library call, and the lines around it."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import _resume
from _streams import printable

STARTED = time.time()


def train(args, model, dataset, described: str, pictures, *, task=None, loss: str | None = None) -> None:
    """Trains the model, `described` in words, in its run folder.

    Args:
        args: as `_flags.training_arguments` gives them.
        pictures: as `ImageGrids` takes it.
        task, loss: of an autoencoder.
    """
    from keras_ae import backends, callbacks, runs, train

    if args.start_from and not _resume.has_checkpoint(args.resume):
        runs.take_weights(model, args.start_from)
    script = Path(sys.argv[0])
    name = f"{script.stem}-{Path(args.dataset).name}-{args.backend}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = args.resume or backends.once(lambda: runs.begin(args.run_dir or Path("runs") / name, vars(args)))
    print(
        f"{dataset.name}: {len(dataset.train):,} training, {len(dataset.validation):,} validation, "
        f"{len(dataset.test):,} test images of {'x'.join(map(str, dataset.image_shape))}\n"
        f"{described} with {model.count_params():,} weights on {args.backend}, {args.precision}{_devices()}\n"
        f"run folder: {folder}",
        flush=True,
    )
    output = args.output or folder / runs.MODEL
    with resumable(lambda: _resume.command(folder, vars(args))):
        history = train(
            model,
            dataset,
            folder,
            **{name: getattr(args, name) for name in ("epochs", "batch_size", "seed", "flip")},
            **{f"checkpoint_{unit}": number for unit, number in args.checkpoint_every.items()},
            task=task,
            metadata={"loss": loss, "flags": runs.plain(vars(args), without=(*runs.PLACES, "devices"))},
            callbacks=[callbacks.ImageGrids(folder, pictures, args.grid_every)],
            output=output,
        )
    best = "best.keras (lowest validation loss), " if len(dataset.validation) else ""
    files = f"and in {folder}: {best}pictures, curves, history, checkpoint"
    report(history, output, args, files)


def _devices() -> str:
    from keras_ae import backends

    _, processes, replicas = backends.world()
    return "" if replicas == 1 else f", {replicas} devices" + (f" of {processes} processes" if processes > 1 else "")


def report(history, output: Path, args, files: str) -> None:
    """Prints what the test images measured, what deserves a second look, what was written and what to do next."""
    from keras_ae import evaluation, training

    if history.test:
        title = "test images (nats per image)" if "elbo" in history.test else "test images"
        print(f"\n{evaluation.as_table(title, history.test)}")
    for notice in training.notices(history):
        print(f"\nnote: {notice}")
    print(f"\n{time.time() - STARTED:.0f} s. Written: {output}\n{files}")
    command = ["python", "train/sample.py", str(output), "--backend", args.backend]
    if "elbo" not in history.test and args.dataset != _resume.GENERATED:  # it shows images, which the file cannot name
        command += ["--dataset", args.dataset]
    if "accuracy" in history.test:
        command = ["python", "train/vae.py", "--dataset", args.dataset, "--features", str(output)]
    print(f"next: {printable(shlex.join(command))}")


@contextlib.contextmanager
def resumable(command: Callable[[], str]):
    """What is interrupted, or has no room left to save, ends with the command that resumes it."""
    from keras_ae import CheckpointError, LostError, backends

    try:
        yield
    except (KeyboardInterrupt, CheckpointError, LostError):
        if backends.is_first():
            print(f"\nresume with: {printable(command())}", file=sys.stderr)
        raise
