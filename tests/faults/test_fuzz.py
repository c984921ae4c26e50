"""Every parser of bytes that may come from a stranger, and every flag: the right object, or one line."""

import copy
import importlib
import io
import json
import math
import shutil
import warnings
from typing import NamedTuple

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import keras_ae
from keras_ae import InputError, callbacks, data, files, runs
from keras_ae.errors import printable
from keras_ae.trust import CONFIG, METADATA
from tests.helpers import folder_with_masks, once, small_vae, train_vae
from tests.trust.hostile import read, write
from tests.tuning.test_search import SPACES, search

pytestmark = [once("what is read"), pytest.mark.filterwarnings("ignore")]

BRACKETS = "a hundred thousand brackets"
VALUES = [None, True, -1, 0, 3, 2**63, 1e300, math.nan, math.inf, "", "x", "../../x", "\x1b[31m\n", "²", [], {}, [[]]]
VALUES += [BRACKETS, ["\ud800"], "x" * 10**5]


def cases(normal: int, slow: int):
    """How many there are in the normal suite and in the slow one, which together has 10,000."""
    return pytest.mark.parametrize("count", [normal, pytest.param(slow, marks=pytest.mark.slow)])


def each(count: int, **strategies):
    """Calls a function with so many examples, the same each time."""
    quiet = settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    return lambda function: quiet(given(**strategies)(function))()


class Damage(NamedTuple):
    """Bits flipped, or a part cut out, doubled or zeroed."""

    kind: str
    first: float  # of the length
    length: int

    def of(self, content: bytes) -> bytes:
        first = round(self.first * len(content))
        before, part, after = content[:first], content[first : first + self.length], content[first + self.length :]
        match self.kind:
            case "ended":
                return before
            case "cut":
                return before + after
            case "doubled":
                return before + part + part + after
            case "zeroed":
                return before + bytes(len(part)) + after
        return before + bytes(255 - byte for byte in part) + after


DAMAGE = st.builds(
    Damage,
    st.sampled_from(["ended", "cut", "doubled", "zeroed", "flipped"]),
    st.floats(0, 1),
    st.integers(1, 4) | st.integers(1, 200),
)


@st.composite
def changed(draw, document) -> str:
    """As JSON, with one to three values replaced or left out."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            return json.dumps(draw(st.sampled_from(VALUES)))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        if draw(st.booleans()):
            holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif draw(st.booleans()):
            other, name = places[draw(st.integers(0, len(places) - 1))]
            holder[key] = copy.deepcopy(other[name])
        else:
            del holder[key]
    return json.dumps(document).replace(json.dumps(BRACKETS), "[" * 10**5)


def _places(part):
    keys = part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    for key in list(keys):
        yield part, key
        yield from _places(part[key])


def outcome(function):
    """What it returns, or `None` where it says in one line what is wrong."""
    try:
        return function()
    except InputError as error:
        message = str(error)
        assert message, "an empty line"
        assert printable(message) == message, message
        assert len(message) < 11_000, message
        return None


@pytest.fixture
def model(tmp_path, dataset):
    """A saved model, and its members."""
    vae = small_vae()
    return read(keras_ae.save_model(vae, tmp_path / "good.keras", keras_ae.saving.metadata(vae, dataset)))


def opened(path):
    saved = outcome(lambda: keras_ae.open_model(path))
    if saved is not None:
        assert saved.model.sample(1, seed=0).shape == (1, *saved.image_shape)
        outcome(lambda: saved.task())
        outcome(lambda: saved.load_dataset(limit=12))
    outcome(lambda: keras_ae.read_metadata(path))


@cases(25, 1500)
def test_model_files(tmp_path, model, count):
    path = tmp_path / "evil.keras"
    content = (tmp_path / "good.keras").read_bytes()

    @each(count, damage=DAMAGE)
    def bytes_of_the_archive(damage):
        path.write_bytes(damage.of(content))
        opened(path)

    @each(count, name=st.sampled_from(sorted(model)), damage=DAMAGE)
    def bytes_of_a_member(name, damage):
        opened(write(path, model | {name: damage.of(model[name])}))


@cases(40, 1500)
def test_what_model_files_say(tmp_path, model, count):
    path = tmp_path / "evil.keras"

    @each(count, config=changed(json.loads(model[CONFIG])))
    def config(config):
        opened(write(path, model | {CONFIG: config.encode(errors="surrogatepass")}))

    @each(count, about=changed(json.loads(model[METADATA])))
    def metadata(about):
        opened(write(path, model | {METADATA: about.encode(errors="surrogatepass")}))


@cases(25, 600)
def test_checkpoints(tmp_path, dataset, count):
    train_vae(dataset, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.npz"
    content = path.read_bytes()
    with np.load(io.BytesIO(content)) as arrays:
        whole = dict(arrays)
    vae = small_vae(kl_warmup_steps=5)
    vae.compile(keras.optimizers.Adam(1e-2))

    def restored():
        state = outcome(lambda: callbacks.restore(vae, tmp_path / "run", 8))
        assert state is None or len(state.history) <= 3
        assert all(np.isfinite(weight).all() for weight in vae.get_weights())  # an optimizer's sums may overflow

    @each(count, damage=DAMAGE)
    def bytes_of_the_archive(damage):
        path.write_bytes(damage.of(content))
        restored()

    @each(count, state=changed(json.loads(str(whole["state"]))))
    def state(state):
        np.savez(path, **whole | {"state": state.encode(errors="replace").decode()})
        restored()

    @each(count, name=st.sampled_from(sorted(whole)), value=st.sampled_from([0, -1.0, math.nan, "x", [1, 2], [[]]]))
    def arrays_of_another_kind(name, value):
        np.savez(path, **whole | {name: np.array(value)})
        restored()


@cases(60, 1000)
def test_flags_of_runs(tmp_path, script, capsys, count):
    """Their checksum is right."""
    module, resume = importlib.import_module("vae"), importlib.import_module("_resume")
    run = tmp_path / "run"
    runs.begin(run, vars(module.parser().parse_args([])))
    flags = runs.read_flags(run)

    @each(count, text=changed(flags))
    def take(text):
        def resumed():
            parser = module.parser()
            args = parser.parse_args(["--resume", str(run)])
            resume.check_arguments(parser, args)
            resume.take_flags(parser, args)
            return args

        try:
            files.write_json(run / "config.json", {"flags": json.loads(text)})
        except RecursionError:  # brackets, which have no checksum
            (run / "config.json").write_text(text)
        _in_one_line(lambda: outcome(resumed), capsys)


SCRIPTS = {"vae": [], "conv_ae": [], "tune": [], "sample": ["x.keras"], "evaluate": ["x.keras"]}


@cases(10, 100)
@pytest.mark.parametrize("name", SCRIPTS)
def test_flags(script, capsys, name, count):
    texts = st.sampled_from([str(value) for value in VALUES if value != BRACKETS]) | st.text(max_size=20)
    parser = importlib.import_module(name).parser()
    options = [action.option_strings[0] for action in parser._actions if action.option_strings]

    @each(count, option=st.sampled_from(options), text=texts)
    def parse(option, text):
        _in_one_line(lambda: parser.parse_args([*SCRIPTS[name], f"{option}={text}"]), capsys)


def _in_one_line(function, capsys) -> None:
    capsys.readouterr()
    try:
        function()
    except SystemExit as end:
        code, said = end.code, capsys.readouterr().err.rstrip("\n")
    else:
        code, said = 2, ""
    assert (code, printable(said)) == (2, said)


WORDS = {
    "vae": ["--likelihood", "--conditioning", "--backend", "--dataset", "--latent-dim", "--kl-warmup", "--image-size"],
    "conv_ae": ["--task", "--loss", "--corruption", "--code-size", "--blocks"],
}


@pytest.mark.slow
def test_flags_that_the_library_reads(script):
    texts = st.sampled_from([str(value) for value in VALUES if value not in (BRACKETS, "") and len(str(value)) < 999])

    @each(300, name=st.sampled_from(sorted(WORDS)), choose=st.data())
    def begin(name, choose):
        option = choose.draw(st.sampled_from(WORDS[name]))
        text = choose.draw(texts)
        code, _, err = script(name, "--smoke", "--width", "4", "--run-dir", "run", f"{option}={text}")
        shutil.rmtree("run", ignore_errors=True)
        if code:
            assert (code, err.count("\n")) == (2, 1), (option, text, err)


@cases(15, 500)
def test_files_of_searches(tmp_path, dataset, count):
    """Their checksums are right, and nothing is trained."""
    folder = tmp_path / "search"
    search(dataset, folder, SPACES["grid"])
    contents = {path: files.read_json(path) for path in [folder / "trials/oracle.json", *folder.rglob("trial.json")]}

    @each(count, path=st.sampled_from(sorted(contents)), choose=st.data())
    def say(path, choose):
        for file, content in contents.items():
            files.write_json(file, content)
        text = choose.draw(changed(contents[path]))
        try:
            files.write_json(path, json.loads(text))
        except RecursionError:
            path.write_text(text)
        outcome(lambda: search(dataset, folder, SPACES["grid"], time_limit=-1))


@cases(25, 700)
def test_entries_of_the_cache(tmp_path, count):
    """Whatever an entry says: the images are the right ones."""

    def images():
        return np.array(data.load("shapes", cache_dir=tmp_path, limit=12).train.arrays["images"])

    expected = images()
    (path,) = tmp_path.glob("*/meta.json")
    content = json.loads(path.read_text())

    @each(count, text=changed(content))
    def say(text):
        path.write_text(text, errors="replace")
        np.testing.assert_array_equal(images(), expected)


@cases(10, 300)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_images(tmp_path, suffix, count):
    """One that is left out is left out with its name, and another one stays."""
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (12, 10, 3), "uint8")
    path = tmp_path / "images" / f"evil.{suffix}"
    for name in (path, path.with_name("good.png")):
        Image.fromarray(pixels).save(name)
    content = path.read_bytes()

    @each(count, damage=DAMAGE)
    def decode(damage):
        path.write_bytes(damage.of(content))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images = data.load(str(path.parent), cache_dir=tmp_path / "cache", image_size=(12, 10)).test
        batch = images.batch(slice(None))["image"]
        assert np.isfinite(batch).all()
        assert len(batch) == 2 or any("evil" in str(warning.message) for warning in caught)
        shutil.rmtree(tmp_path / "cache")


@cases(10, 300)
def test_masks(tmp_path, count):
    folder = folder_with_masks(tmp_path / "own")
    path = folder / "3_mask.png"
    content = path.read_bytes()

    @each(count, damage=DAMAGE)
    def decode(damage):
        path.write_bytes(damage.of(content))
        outcome(lambda: data.load(str(folder), cache_dir=tmp_path / "cache"))
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
