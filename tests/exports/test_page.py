"""The page in a real browser, offline: every control does something, and pictures are Keras's."""

import importlib.util
import io
import json
import urllib.parse
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import priors
from keras_ae.exports import export_page, runtime
from keras_ae.saving import SavedModel
from tests.helpers import set_weights, small_vae

MISSING = [name for name in ("onnx", "tf2onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="pages are made on TensorFlow"),
    pytest.mark.skipif(bool(MISSING), reason=f"without {', '.join(MISSING)}: pip install -e '.[export]'"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of tf2onnx
]
SAVED = Path(__file__).parents[2] / "saved_models"
MARKUP = '<img src=x onerror="document.title=1">'
WAIT = 120_000  # milliseconds, of a machine with much else to do


def saved(model, tmp_path, **metadata) -> SavedModel:
    path = keras_ae.save_model(model, tmp_path / "model.keras", metadata)
    return keras_ae.open_model(path)


@pytest.fixture(scope="module")
def vae():
    small = small_vae()
    small.class_names = ["/*SCRIPT*/", "</script>", MARKUP]
    return small


class Visit:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser, path, state=""):
        self.context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on("console", lambda message: message.type == "error" and self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._note)
        self.page.goto(path.as_uri() + state)
        self.page.wait_for_function("document.body.dataset.ready || /does not/.test(status.textContent)", timeout=WAIT)

    def _note(self, request):
        if not request.url.startswith(("file:", "blob:", "data:")):
            self.wrong.append(request.url)

    def pixels(self, canvas: str) -> np.ndarray:
        """(height, width, 3) of a canvas."""
        code = """id => { const canvas = document.getElementById(id);
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, Array.from(data)]; }"""
        height, width, data = self.page.evaluate(code, canvas)
        return np.array(data, "uint8").reshape(height, width, 4)[..., :3]

    def changes(self, canvas: str, act) -> bool:
        """Whether a canvas looks different some time after."""
        code = "id => document.getElementById(id).toDataURL()"
        before = self.page.evaluate(code, canvas)
        act()
        for _ in range(100):
            if self.page.evaluate(code, canvas) != before:
                return True
            self.page.wait_for_timeout(100)
        return False

    def move(self, control: str, value) -> None:
        code = "([id, value]) => { const one = document.getElementById(id) || document.querySelector(id);"
        code += "one.value = value; one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); }"
        self.page.evaluate(code, [control, value])

    def state(self) -> dict:
        """What the link says, once it does."""
        self.page.wait_for_timeout(400)
        return json.loads(urllib.parse.unquote(self.page.url.partition("#")[2]))


@pytest.fixture(scope="module")
def explorer(vae, web, browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    path = export_page(saved(vae, folder), folder / "page.html", runtime_folder=web)
    visit = Visit(browser, path)
    visit.path = path
    yield visit
    visit.context.close()


def test_the_picture_is_the_models(explorer, vae):
    state = explorer.state()
    expected = 255 * vae.decode(np.array([state["z"]]), state["label"])[0]
    assert np.abs(explorer.pixels("image") - expected).max() <= 2
    assert explorer.wrong == []


@pytest.mark.parametrize(
    ("canvas", "act"),
    {
        "slider": ("image", lambda visit: visit.move("#sliders input", 2.5)),
        "pad": ("image", lambda visit: visit.page.click("#pad", position={"x": 30, "y": 40})),
        "keys on the pad": ("pad", lambda visit: visit.page.press("#pad", "ArrowRight")),
        "axis of the pad": ("pad", lambda visit: visit.move("across", visit.page.input_value("#up"))),
        "class": ("image", lambda visit: visit.move("label", 2)),
        "sample": ("image", lambda visit: visit.page.click("#sample")),
        "seed": ("image", lambda visit: visit.move("seed", 77)),
        "temperature": ("image", lambda visit: visit.move("temperature", 0.3)),
        "grid": ("grid", lambda visit: visit.page.click("#draw-grid")),
        "A": ("strip", lambda visit: visit.page.click("#set-a")),
        "between": ("image", lambda visit: visit.move("between", 0.8)),
        "map": ("image", lambda visit: visit.page.click("#map", position={"x": 90, "y": 60})),
        "zoom": ("map", lambda visit: visit.page.click("#zoom-in")),
        "keys on the map": ("map", lambda visit: visit.page.press("#map", "ArrowLeft")),
        "axes of the map": ("map", lambda visit: visit.move("axes", 1)),
        "gallery": ("original", lambda visit: visit.move("gallery", 1)),
        "Enter on the map": ("image", lambda visit: visit.page.press("#map", "Enter")),
        "B": ("strip", lambda visit: visit.page.click("#set-b")),
        "mean": ("image", lambda visit: visit.page.click("#reset")),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_control_changes_something(explorer, canvas, act):
    canvas, act = act
    assert explorer.changes(canvas, lambda: act(explorer))
    assert explorer.wrong == []


def a_file(seed: int) -> bytes:
    """A PNG of another size."""
    content = io.BytesIO()
    image = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype="uint8")
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def hand_over(visit, kind: str, content: bytes) -> None:
    """A real event that carries a file."""
    code = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "own.png", { type: "image/png" }));
        const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: data, bubbles: true })
            : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event); }"""
    visit.page.evaluate(code, [kind, list(content)])


def test_an_own_image_is_encoded_and_shown_with_its_error(explorer, vae):
    page = explorer.page
    files = [{"name": "own.png", "mimeType": "image/png", "buffer": a_file(1)}]
    assert explorer.changes("image", lambda: page.set_input_files("#file", files))
    assert explorer.changes("original", lambda: hand_over(explorer, "drop", a_file(2)))
    assert explorer.changes("original", lambda: hand_over(explorer, "paste", a_file(3)))
    assert page.is_visible("#error")
    explorer.state()
    shown, original = explorer.pixels("image"), explorer.pixels("original")
    expected = 255 * vae.decode(vae.code(original[None] / 255), explorer.state()["label"])[0]
    assert np.abs(shown - expected).max() <= 2
    error = np.minimum(255, 2 * np.abs(shown.astype(float) - original).mean(-1))
    assert np.abs(explorer.pixels("error")[..., 0] - error).max() <= 3
    assert explorer.wrong == []


def test_the_map_is_zoomed_moved_and_shown_whole_again(explorer):
    page, scale = explorer.page, lambda: explorer.state()["view"]["scale"]
    page.click("#zoom-all")
    whole = explorer.state()["view"]
    page.press("#map", "+")
    assert scale() == pytest.approx(1.2 * whole["scale"])
    page.press("#map", "-")
    assert scale() == pytest.approx(whole["scale"])
    page.hover("#map")
    page.mouse.wheel(0, -100)
    assert scale() == pytest.approx(1.2 * whole["scale"])
    page.click("#zoom-out")
    assert scale() == pytest.approx(0.8 * whole["scale"])
    page.press("#map", "ArrowRight")
    assert explorer.state()["view"]["x"] > whole["x"]
    page.click("#zoom-all")
    assert explorer.state()["view"] == pytest.approx(whole)


def test_an_image_of_the_data_brings_its_class(explorer, vae):
    for number in (1, 2):
        assert explorer.changes("original", lambda number=number: explorer.move("gallery", number))
        assert explorer.state()["label"] == number


def test_names_of_classes_are_text(explorer, vae):
    assert explorer.page.locator("#label option").all_text_contents() == vae.class_names
    assert explorer.page.locator("#legend li").all_text_contents() == vae.class_names
    assert explorer.page.locator("img").count() == 0
    assert explorer.page.title() == "model"


def test_a_link_shows_the_same_again(explorer, browser):
    explorer.page.click("#sample")
    explorer.move("across", explorer.page.get_attribute("#across option:last-child", "value"))
    explorer.move("axes", 1)
    explorer.page.click("#zoom-in")
    state = explorer.state()
    again = Visit(browser, explorer.path, "#" + explorer.page.url.partition("#")[2])
    assert np.abs(again.pixels("image").astype(int) - explorer.pixels("image")).max() <= 2
    assert again.page.input_value("#seed") == str(state["seed"])
    for canvas in ("pad", "map"):
        assert np.abs(again.pixels(canvas).astype(int) - explorer.pixels(canvas)).mean() < 1
    changed = urllib.parse.quote(json.dumps({**state, "seed": 4321}))
    again.page.evaluate("link => { window.old = true; location.hash = link; }", changed)  # in the same place
    again.page.wait_for_function("!window.old && document.body.dataset.ready", timeout=WAIT)
    assert again.page.input_value("#seed") == "4321"
    assert again.wrong == []
    again.context.close()
    foreign = Visit(browser, explorer.path, "#" + urllib.parse.quote('{"z": ["<img>"], "label": 1e9}'))
    assert foreign.wrong == []
    foreign.context.close()


def test_everything_has_a_name_for_who_does_not_see_it(explorer):
    nameless = """() => [...document.querySelectorAll("input, select, button, canvas")]
        .filter((one) => one.checkVisibility() && !one.labels?.length)
        .filter((one) => !one.textContent.trim() && !one.getAttribute("aria-label")).map((one) => one.id)"""
    assert explorer.page.evaluate(nameless) == []


def test_it_fits_a_phone(explorer):
    explorer.page.set_viewport_size({"width": 390, "height": 800})
    assert explorer.page.evaluate("document.documentElement.scrollWidth") <= 390
    explorer.page.set_viewport_size({"width": 1200, "height": 900})


def test_a_completer_has_a_brush_and_a_wipe(web, browser, tmp_path):
    model = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, task="complete", skip_connections=True, width=4)
    set_weights(model.weights)
    shapes = keras_ae.data.load("shapes", limit=60, image_size=(8, 8))
    path = export_page(saved(model, tmp_path, task="complete"), tmp_path / "page.html", shapes, runtime_folder=web)
    visit = Visit(browser, path)
    image = shapes.test.batch(slice(0, 1))["image"]
    mask = np.ones((1, 8, 8, 1), "float32")
    mask[:, 3:5, 3:5] = 0
    visit.move("wipe", 0)
    expected = 255 * keras_ae.restore_images(model, image, mask=mask)[0]
    assert np.abs(visit.pixels("after") - expected).max() <= 2
    assert visit.changes("after", lambda: visit.move("wipe", 0.5))
    assert visit.changes("before", lambda: visit.page.click("#before", position={"x": 20, "y": 20}))
    visit.page.click("#clear")
    visit.move("brush", 1)
    assert visit.changes("after", lambda: visit.page.press("#before", "ArrowLeft"))  # the cursor
    visit.page.press("#before", "Space")
    assert visit.state()["edges"] == [35, 36]
    visit.page.click("#clear")
    visit.move("brush", 4)
    box = visit.page.locator("#before").bounding_box()
    visit.page.mouse.move(box["x"] + 3, box["y"] + 3)  # the corner, and from there out of the image
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] - 200, box["y"] + 3)
    visit.page.mouse.up()
    assert visit.state()["edges"] == [0, 2, 8, 10]
    assert visit.changes("before", lambda: visit.page.click("#hole"))
    assert visit.changes("before", lambda: visit.page.click("#clear"))
    assert visit.changes("before", lambda: visit.move("gallery", 1))
    visit.page.click("#before", position={"x": 20, "y": 20})
    visit.move("wipe", 0.25)
    visit.state()
    again = Visit(browser, path, "#" + visit.page.url.partition("#")[2])
    for canvas in ("before", "after"):
        np.testing.assert_array_equal(again.pixels(canvas), visit.pixels(canvas))
    foreign = Visit(browser, path, "#" + urllib.parse.quote('{"gallery": 1e9, "wipe": "<img>", "edges": [-1, {}]}'))
    assert visit.wrong == again.wrong == foreign.wrong == []
    for one in (visit, again, foreign):
        one.context.close()


def test_a_denoiser_has_noise(web, browser, tmp_path):
    model = keras_ae.conv_autoencoder((8, 8, 1), 2, 4, task="denoise", skip_connections=True, width=4)
    path = export_page(saved(model, tmp_path, task="denoise"), tmp_path / "page.html", runtime_folder=web)
    visit = Visit(browser, path)
    assert visit.changes("before", lambda: visit.move("noise", 0.3))
    assert not visit.page.is_visible("#brush")
    assert visit.wrong == []
    visit.context.close()


def test_a_segmenter_without_skip_connections_shows_its_classes(web, browser, tmp_path):
    model = keras_ae.conv_autoencoder((8, 8, 3), 2, 4, task="segment", mask_classes=3, width=4)
    set_weights(model.weights)
    path = export_page(saved(model, tmp_path, task="segment"), tmp_path / "page.html", runtime_folder=web)
    visit = Visit(browser, path)
    expected = model.get_layer("decoder").predict(np.array([visit.state()["z"]]).reshape(1, 2, 2, 4), verbose=0)
    assert (visit.pixels("image")[..., 0] == np.round(255 * expected[0].argmax(-1) / 2)).mean() > 0.98
    assert visit.wrong == []
    visit.context.close()


def test_a_vae_of_one_latent_has_a_slider_and_no_plane(web, browser, tmp_path):
    vae = small_vae(latent_dim=1, conditioning="none")
    path = export_page(saved(vae, tmp_path), tmp_path / "page.html", runtime_folder=web)
    visit = Visit(browser, path)
    assert visit.changes("image", lambda: visit.move("#sliders input", 2.5))
    assert not visit.page.is_visible("#pad")
    assert not visit.page.is_visible("#map")
    assert visit.wrong == []
    visit.context.close()


def test_the_map_has_the_colours_of_the_data(web, browser, tmp_path):
    shapes = keras_ae.data.load("shapes", limit=60, image_size=(8, 8))
    vae = small_vae(conditioning="none")
    path = export_page(saved(vae, tmp_path), tmp_path / "page.html", shapes, runtime_folder=web)
    visit = Visit(browser, path)
    colours = visit.page.evaluate("[...document.querySelectorAll('#legend i')].map((one) => one.style.background)")
    assert len(set(colours)) == len(shapes.class_names)
    assert visit.wrong == []
    visit.context.close()


@pytest.mark.parametrize("prior", ["flow matching", "tokens"])
def test_priors_of_many_steps_generate(prior, web, browser, tmp_path):
    if prior == "tokens":
        base, fitted = small_vae(latent_dim=(4, 4), conditioning="none", latent="vq:6"), priors.Autoregressive(32, 1, 3)
    else:
        base, fitted = small_vae(latent_dim=(2, 2, 4), conditioning="none"), priors.FlowMatching(8, 1, 3)
        fitted.build((None, 2, 2, 4))
    model = keras_ae.with_prior(base, fitted)
    set_weights(model.prior.weights, 0.25 if prior == "tokens" else 0.7)
    for weight in model.prior.weights:
        if "of_label" in weight.path:
            weight.assign(4 * np.eye(*weight.shape))  # so that labels count
    path = export_page(saved(model, tmp_path), tmp_path / "page.html", runtime_folder=web)
    visit = Visit(browser, path)
    assert visit.changes("image", lambda: visit.page.click("#sample"))
    assert visit.changes("image", lambda: visit.move("label", 2))
    assert visit.changes("image", lambda: visit.move("guidance", 4))
    assert visit.page.is_visible("#pad") == (prior != "tokens")
    assert visit.wrong == []
    visit.context.close()


@pytest.mark.parametrize(("name", "most"), [("vae_shapes", 8), ("vae_cifar10", 12)])
def test_the_pages_of_saved_models_are_built_by_one_command(name, most, web, browser, script, tmp_path):
    code, _, err = script("export", SAVED / f"{name}.keras", "--format", "html", "--runtime-folder", web)
    assert code == 0, err
    path = tmp_path / f"{name}.html"
    assert path.stat().st_size < most * 1e6
    visit = Visit(browser, path)
    assert visit.changes("image", lambda: visit.page.click("#sample"))
    assert visit.wrong == []
    visit.context.close()


def test_a_link_to_the_runtime_has_its_hash(vae, tmp_path):
    page = export_page(saved(vae, tmp_path), tmp_path / "page.html", runtime="cdn").read_text()
    about = json.loads(page.partition('id="about">')[2].partition("</script>")[0])
    assert about["runtime"] == runtime.links()
    assert 'id="wasm"' not in page
    assert len(page) < 200_000


def test_mistakes_of_a_page_are_one_line(vae, tmp_path):
    for settings, message in (
        ({"runtime": "cnd"}, "unknown runtime 'cnd'; known are inline, cdn"),
        ({"weights": "int8"}, "unknown weights 'int8'; known are float32, float16"),
        ({"runtime": "cdn", "runtime_folder": tmp_path}, "takes no runtime_folder"),
    ):
        with pytest.raises(keras_ae.InputError, match=message):
            export_page(saved(vae, tmp_path), tmp_path / "page.html", **settings)


def test_another_version_of_the_runtime_is_refused(web, vae, tmp_path):
    file, _ = runtime.FILES["script"]
    (tmp_path / file).write_bytes((web / "dist" / file).read_bytes() + b" ")
    with pytest.raises(keras_ae.InputError, match=f"is not that of onnxruntime-web@{runtime.VERSION}"):
        export_page(saved(vae, tmp_path), tmp_path / "page.html", runtime_folder=tmp_path)
    with pytest.raises(keras_ae.InputError, match="give the unpacked npm package"):
        export_page(saved(vae, tmp_path), tmp_path / "page.html", runtime_folder=tmp_path / "none")
    assert not (tmp_path / "page.html").exists()
