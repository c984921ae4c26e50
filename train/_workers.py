"""Several processes that run the trials of one search: KerasTuner's chief, which hands them out, and its workers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROLE = "KERASTUNER_TUNER_ID"


def role() -> str | None:
    """What the environment says that this process is."""
    return os.environ.get(ROLE)


def is_worker() -> bool:
    return role() is not None and "chief" not in role()


def run(count: int, run_dir: Path) -> None:
    """Starts this command as a chief and `count` workers, and returns when the workers have found no more to do.

    What they print is in `run_dir`, but for the chief's lines, one for each trial.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    with contextlib.ExitStack() as logs:
        chief = _start("chief", environment)
        workers = [
            _start(
                f"worker{number}",
                environment,
                log=logs.enter_context(open(run_dir / f"worker_{number}.log", "a")),
                preexec_fn=_share(number, count),
            )
            for number in range(count)
        ]
        try:
            while any(worker.poll() is None for worker in workers) and chief.poll() is None:
                time.sleep(0.2)
        finally:
            for group in (workers, [chief]):  # workers save first
                for process in group:
                    process.terminate()
                for process in group:
                    process.wait()


def _start(role: str, environment: dict, log=None, **kwargs) -> subprocess.Popen:
    """In a session of its own: a Ctrl-C reaches it once, from here."""
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(
        command, env={**environment, ROLE: role}, stdout=log, stderr=log, start_new_session=True, **kwargs
    )


def _share(number: int, count: int):
    """Keeps a worker to its share of the cores; frameworks start as many threads."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    share = cores[number::count] or [cores[number % len(cores)]]
    return lambda: os.sched_setaffinity(0, share)
