"""A search by several processes: KerasTuner's chief, which hands out the trials, and workers, which run them.

Each of them is this program, started again with its own arguments and told by KerasTuner's variables what it is.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from keras_ae.callbacks.stop import HANGUP, Stopped, stopping
from keras_ae.errors import InputError
from keras_ae.files import lock, refuse_links
from keras_ae.tuning.search import Search

ROLE = "KERASTUNER_TUNER_ID"
GPUS = Path("/dev")  # where Linux has a file nvidia0, nvidia1, ... for each


def role() -> str | None:
    """What this process is in a search by several: "chief", "worker0", ... `None` outside of one."""
    return os.environ.get(ROLE)


def is_worker() -> bool:
    return role() is not None and "chief" not in role()


def run_search(make: Callable[[], Search], folder: Path, count: int = 1) -> Search | None:
    """Runs a search to its end, or what is left of it, in this process or in `count` workers.

    Args:
        make: makes the search, in each process again.
        folder: of the search. It exists.
        count: of workers. With more than one, this program is started again as a chief and as each of them, and has to
            come here.

    Returns:
        The search, with all its trials. `None` in a chief or a worker, whose part ends here.

    Raises:
        InputError: another process is in the folder, or a process has ended with an error.
    """
    if is_worker():
        make().search()
        return None
    if count > 1 and not role():
        _run_processes(count, folder)
        return make()
    with lock(folder):
        search = make()
        search.search()
    return None if role() else search


def _run_processes(count: int, folder: Path) -> None:
    """Starts a chief and the workers, and returns when the workers have no more to do.

    What they print is in the folder, except for the chief's lines, one for each trial.
    """
    refuse_links(folder)
    environment = {
        **os.environ,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(_free_port()),
        "no_grpc_proxy": "127.0.0.1",
    }
    for number in stopping():  # the first is ignored in a process begun in the background
        signal.signal(number, _stop)
    with contextlib.ExitStack() as logs:
        chief = _start("chief", environment)
        workers = []
        for number in range(count):
            log = logs.enter_context(open(_log(folder, number), "a"))
            workers.append(_start(f"worker{number}", environment | _gpu(number), log))
            _share_cores(workers[-1].pid, number, count)
        try:
            while any(worker.poll() is None for worker in workers):
                time.sleep(0.2)
                _check(chief, workers, folder)
        finally:
            _end(chief, workers)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _start(role: str, environment: dict, log=None) -> subprocess.Popen:
    """In a session of its own: a Ctrl-C reaches it once, from here."""
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(command, env={**environment, ROLE: role}, stdout=log, stderr=log, start_new_session=True)


def _gpu(number: int) -> dict[str, str]:
    """The variable that gives a worker a GPU of its own, where there are any: frameworks read it when they start, and
    would take all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = range(len(list(GPUS.glob("nvidia[0-9]*")))) if visible is None else filter(None, visible.split(","))
    names = list(map(str, found))
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]} if names else {}


def _share_cores(process: int, number: int, count: int) -> None:
    """Keeps a worker, which has only just begun, to its share of the cores. Frameworks start as many threads."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process, cores[number::count] or [cores[number % len(cores)]])


def _check(chief, workers: list, folder: Path) -> None:
    if chief.poll():
        raise InputError(f"the chief ended with code {chief.poll()}; the same command resumes the search")
    for number, worker in enumerate(workers):
        if worker.poll():
            raise InputError(
                f"worker {number} ended with code {worker.poll()} ({_log(folder, number)}); "
                "the same command resumes the search"
            )


def _end(chief, workers: list) -> None:
    try:
        for process in workers:  # they save first
            process.terminate()
        for process in workers:
            process.wait()
    finally:
        chief.kill()  # it has saved after each trial
        chief.wait()


def _log(folder: Path, number: int) -> Path:
    return folder / f"worker_{number}.log"


def _stop(number, _frame):
    if number == HANGUP:  # it comes twice: the kernel sends it, and then the shell
        signal.signal(number, signal.SIG_IGN)
    raise Stopped(number)
