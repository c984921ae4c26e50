"""A measurement in a process of its own."""

import json
import os
import subprocess
import sys

from _setup import environment


def measured(*command, allocator: bool = True) -> dict:
    """What a script prints in its last line, as JSON.

    Args:
        command: the script and its flags.
        allocator: with the allocator settings of the training scripts, or with the system's own.
    """
    done = subprocess.run(check=False, **_process(command, allocator))
    if done.returncode:
        _fail(command)
    return json.loads(done.stdout.splitlines()[-1])


class Turns:
    """A script that does something each time when it is given a line, and answers with a number."""

    def __init__(self, *command, allocator: bool = True):
        self.command = command
        self.process = subprocess.Popen(stdin=subprocess.PIPE, **_process(command, allocator))

    def turn(self) -> float:
        print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            _fail(self.command)
        return float(answer)


def _process(command, allocator: bool) -> dict:
    variables = {"JAX_ENABLE_COMPILATION_CACHE": "false"}  # the first epoch compiles in every run
    if allocator:
        variables["GLIBC_TUNABLES"] = environment.ALLOCATOR
    arguments = [sys.executable, *map(str, command)]
    return {"args": arguments, "env": os.environ | variables, "stdout": subprocess.PIPE, "text": True}


def _fail(command):
    sys.exit(f"failed: {' '.join(map(str, command))}")  # its error is on the terminal
