"""onnxruntime-web and a browser, where they are."""

import os
import shutil
from pathlib import Path

import pytest

from keras_ae import InputError
from keras_ae.exports import runtime


@pytest.fixture(scope="session")
def web(tmp_path_factory) -> Path:
    """The unpacked npm package: of the folder ONNXRUNTIME_WEB, or what npm fetches."""
    folder = Path(os.environ.get("ONNXRUNTIME_WEB") or tmp_path_factory.mktemp("web"))
    try:
        contents = runtime.contents(folder if os.environ.get("ONNXRUNTIME_WEB") else None)
    except InputError as error:
        pytest.skip(str(error))
    if not (folder / "dist").is_dir():
        (folder / "dist").mkdir()
        for name, (file, _) in runtime.FILES.items():
            (folder / "dist" / file).write_bytes(contents[name])
    return folder


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="without playwright: pip install playwright")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("without a browser: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
