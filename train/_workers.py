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
    here = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port), "no_grpc_proxy": "127.0.0.1"}
    environment = {**os.environ, **here}
    for number in (signal.SIGINT, signal.SIGTERM):  # the first is ignored in a process begun in the background
        signal.signal(number, _stop)
    with contextlib.ExitStack() as logs:
        chief = _start("chief", environment)
        workers = [
            _start(
                f"worker{number}",
                environment,
                log=logs.enter_context(open(run_dir / f"worker_{number}.log", "a")),
            )
            for number in range(count)
        ]
        for number, worker in enumerate(workers):
            _share(worker.pid, number, count)
        try:
            while any(worker.poll() is None for worker in workers):
                time.sleep(0.2)
                _check(chief, workers, run_dir)
        finally:
            try:
                for process in workers:  # they save first
                    process.terminate()
                for process in workers:
                    process.wait()
            finally:
                chief.kill()  # it has saved after each trial
                chief.wait()


def _stop(number, _frame):
    stopped = KeyboardInterrupt()
    stopped.number = number
    raise stopped


def _check(chief, workers: list, run_dir: Path) -> None:
    from keras_ae import InputError

    if chief.poll():
        raise InputError(f"the chief has ended with code {chief.poll()}; the same command goes on")
    for number, worker in enumerate(workers):
        if worker.poll():
            log = run_dir / f"worker_{number}.log"
            raise InputError(f"worker {number} has ended with code {worker.poll()} ({log}); the same command goes on")


def _start(role: str, environment: dict, log=None) -> subprocess.Popen:
    """In a session of its own: a Ctrl-C reaches it once, from here."""
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(command, env={**environment, ROLE: role}, stdout=log, stderr=log, start_new_session=True)


def _share(process: int, number: int, count: int) -> None:
    """Keeps a worker, which has only just begun, to its share of the cores; frameworks start as many threads."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process, cores[number::count] or [cores[number % len(cores)]])
