"""onnxruntime-web, which runs the networks of a page: two files of its npm package, of one version."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from keras_ae.data.cache import default_cache_dir
from keras_ae.errors import InputError
from keras_ae.files import atomic

VERSION = "1.30.0"
FILES = {  # by their names in the page: the file, and its hash
    "script": ("ort.wasm.bundle.min.mjs", "PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG"),
    "wasm": ("ort-wasm-simd-threaded.wasm", "vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM"),
}


def links() -> dict[str, dict[str, str]]:
    """Where a page finds the files, and the hashes that they must have there.

    >>> sorted(links()["wasm"])
    ['integrity', 'url']
    """
    url = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
    return {name: {"url": url + file, "integrity": f"sha384-{digest}"} for name, (file, digest) in FILES.items()}


def contents(folder: Path | None = None) -> dict[str, bytes]:
    """The files.

    Args:
        folder: the unpacked npm package; where `None`, what `npm pack` fetches, once.

    Raises:
        InputError: a file is missing or of another version, or npm fetches nothing.
    """
    if folder is None:
        folder = default_cache_dir() / f"onnxruntime-web-{VERSION}"
        if not all((folder / file).is_file() for file, _ in FILES.values()):
            _fetch(folder)
    return {name: _checked(folder, *of) for name, of in FILES.items()}


def _checked(folder: Path, file: str, digest: str) -> bytes:
    path = next((path for path in (folder / "dist" / file, folder / file) if path.is_file()), None)
    if path is None:
        raise InputError(f"{folder} has no {file}; give the unpacked npm package onnxruntime-web@{VERSION}")
    content = path.read_bytes()
    if base64.b64encode(hashlib.sha384(content).digest()).decode() != digest:
        raise InputError(f"{path} is not that of onnxruntime-web@{VERSION}; give that version, or remove the folder")
    return content


def _fetch(folder: Path) -> None:
    """Fetches the package and keeps what a page takes."""
    npm = shutil.which("npm")
    way_out = "install Node.js, give --runtime-folder, or --runtime cdn"
    if npm is None:
        raise InputError(f"npm, which fetches onnxruntime-web, is not there; {way_out}")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", "--silent", f"onnxruntime-web@{VERSION}"]
        if subprocess.run(command, cwd=temporary, capture_output=True, check=False).returncode:
            raise InputError(f"npm pack onnxruntime-web@{VERSION} fetches nothing; {way_out}")
        (packed,) = Path(temporary).glob("*.tgz")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packed) as archive:
            for file, _ in FILES.values():
                with atomic(folder / file) as path:
                    path.write_bytes(archive.extractfile(f"package/dist/{file}").read())
