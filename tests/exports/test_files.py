"""The files that are written, run by the runtimes that they are for."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import exports
from keras_ae.exports import runtime
from tests.family import FITTED, MEMBERS, member
from tests.helpers import small_vae

MISSING = [
    name for name in ("onnx", "tf2onnx", "onnxruntime", "ai_edge_litert") if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports are made on TensorFlow"),
    pytest.mark.skipif(bool(MISSING), reason=f"without {', '.join(MISSING)}: pip install -e '.[export]'"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of tf2onnx and of TensorFlow's converter
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
WAIT = 120_000  # milliseconds, of a machine with much else to do
SAVED = sorted((Path(__file__).parents[2] / "saved_models").glob("*.keras"))


@keras.saving.register_keras_serializable("tests")
class Spectrum(keras.layers.Layer):
    """Computes what ONNX does not know."""

    def call(self, x):
        real, imaginary = keras.ops.fft2((x[..., 0], x[..., 0]))
        return x + (real + imaginary)[..., None]


@keras.saving.register_keras_serializable("tests")
class Forgetful(keras.layers.Layer):
    """Computes something else each time that it is traced."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x * self.calls


def with_layer(layer) -> keras_ae.VAE:
    vae = small_vae(conditioning="none")
    return keras_ae.VAE(vae.encoder, keras.Model(vae.decoder.inputs, layer(vae.decoder.outputs[0])))


def run(path, inputs) -> list:
    import onnxruntime

    return onnxruntime.InferenceSession(path).run(None, inputs)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    vae = small_vae()
    return vae, keras_ae.export_model(vae, tmp_path_factory.mktemp("exports") / "vae")


def test_onnx_gives_what_the_model_does(exported, random):
    import onnx

    vae, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "decoder.onnx", "encoder.onnx"]
    for n in (1, 5):
        z, label = random.normal(size=(n, 4)).astype("float32"), random.integers(0, 3, n).astype("int32")
        (image,) = run(folder / "decoder.onnx", {"z": z, "label": label})
        np.testing.assert_allclose(image, vae.decode(z, label), atol=1e-5)
        mean, log_var = run(folder / "encoder.onnx", {"image": image})
        np.testing.assert_allclose((mean, log_var), vae.encode(image), atol=1e-5)
    made = onnx.load(folder / "decoder.onnx")
    assert [value.name for value in (*made.graph.input, *made.graph.output)] == ["z", "label", "image"]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in made.graph.input} == {"batch"}
    assert made.opset_import[0].version == 18


def test_the_example_in_python_runs(exported):
    _, folder = exported
    python = re.search("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    shown = subprocess.run([sys.executable, "-c", python], cwd=folder, capture_output=True, text=True, check=True)
    assert shown.stdout == "(2, 8, 8, 3)\n"


def test_the_example_in_javascript_runs(exported, web, browser):
    _, folder = exported
    javascript = re.search("```js\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    script = runtime.FILES["script"][0]
    page = f'<script type="importmap">{{"imports": {{"onnxruntime-web": "/{script}"}}}}</script>'
    page += f'<script type="module">{javascript}</script>'
    types = {".mjs": "text/javascript", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}

    def serve(route):
        name = Path(route.request.url).name
        if name == "page":
            return route.fulfill(body=page, content_type="text/html")
        path = next((path for path in (folder / name, web / "dist" / name) if path.exists()), None)
        if path is None:  # a browser's own, such as the icon
            return route.abort()
        return route.fulfill(body=path.read_bytes(), content_type=types[path.suffix])

    with browser.new_context() as context:
        context.route("http://example.test/*", serve)
        shown = context.new_page()
        with shown.expect_console_message(lambda message: message.type == "log", timeout=WAIT) as printed:
            shown.goto("http://example.test/page")
        assert printed.value.args[0].json_value() == [2, 8, 8, 3]


def test_half_of_the_space_and_bytes(exported, tmp_path, random):
    vae, whole = exported
    half = keras_ae.export_model(vae, tmp_path / "half", weights="float16", uint8=True)
    assert (half / "decoder.onnx").stat().st_size < 0.8 * (whole / "decoder.onnx").stat().st_size
    images = random.integers(0, 256, (5, 8, 8, 3), dtype="uint8")
    mean, _ = run(half / "encoder.onnx", {"image": images})
    np.testing.assert_allclose(mean, vae.encode(images / 255)[0], atol=2e-3)
    label = np.array([0, 1, 2, 0, 1], "int32")
    (decoded,) = run(half / "decoder.onnx", {"z": mean, "label": label})
    assert decoded.dtype == "uint8"
    assert np.abs(decoded - 255 * vae.decode(mean, label)).max() < 1


@pytest.mark.parametrize("format", ["saved_model", "litert"])
def test_other_formats_are_checked_and_their_example_runs(format, tmp_path):
    folder = keras_ae.export_model(small_vae(), tmp_path / "exported", format)
    python = re.search("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    shown = subprocess.run([sys.executable, "-c", python], cwd=folder, capture_output=True, text=True, check=False)
    assert shown.stdout == "(2, 8, 8, 3)\n", shown.stderr


def test_litert_halves_weights_and_saved_model_does_not(tmp_path):
    vae = keras_ae.conv_vae((8, 8, 3), 4, width=16)
    kinds = ("float32", "float16")
    whole, half = (keras_ae.export_model(vae, tmp_path / kind, "litert", weights=kind) for kind in kinds)
    assert (half / "decoder.tflite").stat().st_size < 0.7 * (whole / "decoder.tflite").stat().st_size
    with pytest.raises(keras_ae.InputError, match="float32; leave out float16"):
        keras_ae.export_model(vae, tmp_path / "saved", "saved_model", weights="float16")


def test_a_layer_that_onnx_does_not_know_is_named(tmp_path):
    with pytest.raises(keras_ae.InputError, match=r"the layer odd\w* computes \w+, which ONNX does not know"):
        keras_ae.export_model(with_layer(Spectrum(name="odd")), tmp_path / "exported")
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_not_kept(tmp_path):
    with pytest.raises(keras_ae.InputError, match=r"the exported decoder differs from the model by .* in image"):
        keras_ae.export_model(with_layer(Forgetful()), tmp_path / "exported")
    assert not list(tmp_path.iterdir())


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "there").mkdir()
    for arguments, message in {
        (tmp_path / "there", "onnx"): "there exists already; give another folder",
        (tmp_path / "new", "onyx"): "unknown format 'onyx'; known are onnx, saved_model, litert",
        (tmp_path / "new", "onnx", "int8"): "unknown weights 'int8'; known are float32, float16",
    }.items():
        with pytest.raises(keras_ae.InputError, match=message):
            keras_ae.export_model(small_vae(), *arguments[:2], **dict(zip(["weights"], arguments[2:], strict=False)))


@pytest.mark.slow
@pytest.mark.parametrize("format", exports.FORMATS)
@pytest.mark.parametrize("name", [*MEMBERS, *FITTED])
def test_each_member_is_exported(name, format, tmp_path):
    vae = FITTED[name]() if name in FITTED else member(**MEMBERS[name])
    keras_ae.export_model(vae, tmp_path / "exported", format)


@pytest.mark.slow
@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
@pytest.mark.parametrize("format", exports.FORMATS)
@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_each_saved_model_is_exported(path, format, weights, tmp_path):
    if (format, weights) == ("saved_model", "float16"):
        pytest.skip("weights of a SavedModel are float32")
    keras_ae.export_model(keras_ae.load_model(path), tmp_path / "exported", format, weights=weights)


def test_the_script_writes_a_folder(script, tmp_path):
    keras_ae.save_model(small_vae(), tmp_path / "vae.keras")
    code, out, err = script("export", "vae.keras", "--uint8")
    assert code == 0, err
    assert out == "written: vae-onnx\n"
    assert (tmp_path / "vae-onnx" / "decoder.onnx").exists()
    code, _, err = script("export", "vae.keras")
    assert (code, err) == (2, "export.py: error: vae-onnx exists already; choose another name with --output\n")
    code, _, err = script("export", "vae.keras", "--format", "litert", "--open")
    assert code == 2
    assert "are of --format html" in err
