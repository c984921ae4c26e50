"""All that must happen before Keras is imported: variables, the allocator, imports that are left out."""

import argparse
import contextlib
import importlib
import importlib.util
import os
import platform
import sys
import types
import warnings
from pathlib import Path

from _streams import open_closed, printable

BACKENDS = ("tensorflow", "jax", "torch")

# Memory is never unmapped and never given back, and comes in huge pages
ALLOCATOR = f"glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={2**40}:glibc.malloc.hugetlb=1"


def set_environment(parser: argparse.ArgumentParser, backend: str, devices: int | None = 1) -> None:
    """Sets all that the backend reads when it is imported, imports Keras, and takes so many devices, `None` for all, or
    the part of one of several processes."""
    if backend not in BACKENDS:
        parser.error(f"unknown backend '{backend}'; known are {', '.join(BACKENDS)}")
    if importlib.util.find_spec(backend) is None:
        installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
        parser.error(f"the backend {backend} is not installed; installed are {', '.join(installed) or 'none'}")
    os.environ["KERAS_BACKEND"] = backend
    set_variables(compiled=_home(parser) / "keras_ae" / "jax")
    open_closed()
    _import_keras(backend)
    warnings.showwarning = lambda message, *_: print(f"note: {printable(message)}", file=sys.stderr)
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.filterwarnings("ignore", message="Explicitly requested dtype int64")  # Keras's mean IoU, on JAX
    if devices != 1:
        _begin(devices)


def _begin(devices: int | None) -> None:
    """Of several processes the first one speaks."""
    from keras_ae import backends

    backends.start(devices)
    if not backends.is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
        warnings.showwarning = lambda *_: None


def _home(parser) -> Path:
    """Keras's folder."""
    if not os.environ.get("KERAS_HOME"):
        os.environ.pop("KERAS_HOME", None)  # Keras would take an empty one for this folder
        try:
            return Path.home() / ".keras"
        except RuntimeError:
            parser.error("there is no home folder; set KERAS_HOME to a folder that can be written")
    return Path(os.environ["KERAS_HOME"])


def set_variables(compiled: Path, seconds: float = 0.3) -> None:
    """Sets those that are not set. JAX keeps programs that took so many seconds to compile in the folder `compiled`."""
    settings = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",  # off by default on some processors, where it doubles the speed
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(seconds),
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def restart_with_allocator() -> None:
    """Starts the script again with an allocator that keeps what it has, in huge pages. By default glibc gives large
    arrays back to the system after each step and gets them again page by page (docs/performance.md).

    Does nothing where the process is not the script's own, on other systems, and where GLIBC_TUNABLES is set.
    """
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or ".").resolve()
    root = Path(__file__).resolve().parent.parent
    if not any(script.is_relative_to(root / folder) for folder in ("train", "benchmarks")):
        return
    if platform.libc_ver()[0] != "glibc" or "GLIBC_TUNABLES" in os.environ:
        return
    os.environ["GLIBC_TUNABLES"] = ALLOCATOR
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _import_keras(backend: str) -> None:
    """Without what Keras imports wherever it is installed and the scripts do not use (two to three seconds,
    docs/performance.md), and without TensorFlow's notes that there is no GPU, from before it reads its log level."""
    hidden = {"tensorflow", "jax", "torch", "sklearn", "pandas", "matplotlib.pyplot"} - {backend} - sys.modules.keys()
    sys.modules.update(dict.fromkeys(hidden))  # None: the import of such a module fails
    try:
        with _silence() if backend == "tensorflow" else contextlib.nullcontext():
            importlib.import_module(backend)
            if backend == "torch":
                hidden |= _hide_compiler()
            importlib.import_module("keras")
    finally:
        for name in hidden:
            del sys.modules[name]


def _hide_compiler() -> set[str]:
    """Keras imports PyTorch's compiler, which nothing here uses, to exempt its random numbers from it: 2 seconds."""
    name = "torch._dynamo"
    if name in sys.modules:
        return set()
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].disable = lambda: lambda function: function
    return {name}


@contextlib.contextmanager
def _silence():
    """Hides what libraries write to standard error."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def forget_tensorflow(backend: str) -> None:
    """Keeps Keras from importing TensorFlow on another backend to save a model: five seconds for nothing."""
    if backend != "tensorflow":
        sys.modules.setdefault("tensorflow", None)
