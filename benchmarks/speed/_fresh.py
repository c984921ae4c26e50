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
    variables = {"JAX_ENABLE_COMPILATION_CACHE": "false"}  # the first epoch compiles in every run
    if allocator:
        variables["GLIBC_TUNABLES"] = environment.ALLOCATOR
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}")  # its error is on the terminal
    return json.loads(done.stdout.splitlines()[-1])
