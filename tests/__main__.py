"""python -m tests [pytest arguments]: the suite once per backend, in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BACKENDS = sorted(path.stem for path in ROOT.glob("keras_ae/backends/[a-z]*.py"))


def main() -> int:
    failed = []
    for backend in BACKENDS:
        print(f"== {backend}", flush=True)
        environment = {**os.environ, "KERAS_BACKEND": backend}
        # Two at once: most of a test's time is one thread that traces or compiles.
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", *sys.argv[1:]]
        if subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode:
            failed.append(backend)
    print(f"failed on: {', '.join(failed)}" if failed else f"passed on {', '.join(BACKENDS)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
