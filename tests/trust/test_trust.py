"""What a file may hold: attacks that Keras closes, too, and what is harmless (those that do harm: test_hostile.py)."""

import json
import pickle
import re
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.utils.python_utils import is_default

import keras_ae
from keras_ae import InputError
from keras_ae.latents import FSQ, Deterministic, Gaussian, Latent
from keras_ae.layers import KeepKnown
from keras_ae.objectives import ELBO, Objective, Reconstruction, Regularizer, TotalCorrelation
from keras_ae.priors import GMM, Prior, StandardNormal, Uniform
from keras_ae.trust import CONFIG, METADATA, WEIGHTS, check
from keras_ae.trust.configs import KNOWN
from tests.helpers import once, small_vae
from tests.trust.hostile import KINDS

REFUSED = once("a refused file is not built on any backend")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    path = keras_ae.save_model(small_vae(), tmp_path_factory.mktemp("good") / "vae.keras")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_config(members, change):
    """The members with `change(config)` made to the config of the VAE, whose encoder and decoder are Keras models."""
    config = json.loads(members[CONFIG])
    change(config)
    return members | {CONFIG: json.dumps(config).encode()}


def layers(config, part="encoder"):
    return config["config"][part]["config"]["layers"]


def first(config, class_name):
    return next(each for each in layers(config) if each["class_name"] == class_name)


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def layer(module, name, config, **more):
    """Puts a layer of that class in the place of the encoder's second."""

    def change(whole):
        replaced = layers(whole)[1]
        replaced.update({"module": module, "class_name": name, "registered_name": None, **more})
        replaced["config"] = {"name": replaced["config"]["name"], **config}

    return change


def activation(value):
    def change(whole):
        first(whole, "Dense")["config"]["activation"] = value

    return change


CONFIGS = {
    "CVE-2025-1550, a function of any module": layer(
        "keras.layers", "Lambda", {"function": function("os", "system"), "arguments": {"command": "touch canary"}}
    ),
    "CVE-2025-1550, as an activation": activation(function("os", "system")),
    "CVE-2025-8747 and CVE-2025-12060, a download that is unpacked": activation(function("keras.utils", "get_file")),
    "CVE-2025-9906, switching the safe mode off": activation(function("keras.config", "enable_unsafe_deserialization")),
    "CVE-2024-3660, a lambda": layer(
        "keras.layers", "Lambda", {"function": {"class_name": "__lambda__", "config": {"code": "4wAA"}}}
    ),
    "CVE-2026-1462, a SavedModel from elsewhere": layer(
        "keras.layers", "TFSMLayer", {"filepath": "elsewhere", "call_endpoint": "serve"}
    ),
    "keras issue 23654, TFSMLayer called as a function": activation(
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "elsewhere"}}
    ),
    "a torch module": layer("keras.layers", "TorchModuleWrapper", {"module": "gASV"}),
    "a JAX function": layer("keras.layers", "JaxLayer", {"call_fn": function("os", "system")}),
    "a class of another module": layer("subprocess", "Popen", {"args": "touch canary"}),
    "a class that only looks like ours": layer("evil", "VAE", {}, registered_name="evil>VAE"),
    "a registered function": activation("evil>function"),
    "an initializer as an activation": activation(
        {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
    ),
    "a layer as an initializer": (
        lambda whole: first(whole, "Dense")["config"].update(
            kernel_initializer={"module": "keras.layers", "class_name": "ReLU", "config": {}, "registered_name": None}
        )
    ),
    "an initializer that is none": (
        lambda whole: first(whole, "Dense")["config"].update(kernel_initializer="evil>function")
    ),
    "a quantised dtype": (
        lambda whole: layers(whole)[1]["config"].update(
            dtype={"module": "keras", "class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}
        )
    ),
}


@REFUSED
@pytest.mark.parametrize("name", CONFIGS)
def test_hostile_configs_are_refused(members, tmp_path, name):
    path = write(tmp_path / "evil.keras", with_config(members, CONFIGS[name]))
    with pytest.raises(InputError, match=r"is refused: .*trust"):
        keras_ae.load_model(path)


def _weights(members, tmp_path, change):
    path = tmp_path / "weights.h5"
    path.write_bytes(members[WEIGHTS])
    with h5py.File(path, "r+") as file:
        change(file)
    return members | {WEIGHTS: path.read_bytes()}


def _first_dataset(file):
    found = []
    file.visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return found[0]


def _replace(make):
    def change(file):
        name = _first_dataset(file)
        del file[name]
        make(file, name)

    return change


def _virtual(file, name):
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource("/etc/hostname", "data", (4,))
    file.create_virtual_dataset(name, layout)


HDF5 = {
    "CVE-2026-1669, numbers from another file": _replace(
        lambda file, name: file.create_dataset(name, (8,), "uint8", external=[("/etc/hostname", 0, 8)])
    ),
    "a virtual data set": _replace(_virtual),
    "an external link": _replace(lambda file, name: file.__setitem__(name, h5py.ExternalLink("/etc/hostname", "/"))),
    "a soft link": _replace(lambda file, name: file.__setitem__(name, h5py.SoftLink("/"))),
    "a group inside itself": lambda file: file.__setitem__("again", file["/"]),
    "objects": _replace(lambda file, name: file.create_dataset(name, (1,), h5py.string_dtype())),
}


@REFUSED
@pytest.mark.parametrize("name", HDF5)
def test_hostile_weights_are_refused(members, tmp_path, name):
    path = write(tmp_path / "evil.keras", _weights(members, tmp_path, HDF5[name]))
    with pytest.raises(InputError, match="is refused: its weights"):
        keras_ae.load_model(path)


@REFUSED
def test_hostile_archives_are_refused(members, tmp_path):
    evil = tmp_path / "evil.keras"
    for extra in ("../canary", "/canary", "assets/canary", "model.weights.npz"):
        write(evil, members | {extra: b"x"})
        with pytest.raises(InputError, match="its members are not those"):
            keras_ae.load_model(evil)
    write(evil, members | {METADATA: b" " * 10**6}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is compressed"):
        keras_ae.load_model(evil)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(write(evil, members), "a") as archive:
        archive.writestr(CONFIG, b"{}")
    with pytest.raises(InputError, match="its members are not those"):
        keras_ae.load_model(evil)
    with h5py.File(tmp_path / "legacy.h5", "w") as file:  # CVE-2025-9905: Keras has no safe mode for these
        file.attrs["model_config"] = json.dumps({"class_name": "Lambda"})
    for content in (pickle.dumps({"weights": np.ones(3)}), (tmp_path / "legacy.h5").read_bytes()):
        evil.write_bytes(content)
        with pytest.raises(InputError, match=r"is no \.keras file"):
            keras_ae.load_model(evil)
    deep = b'{"a":' * 10**5 + b"1" + b"}" * 10**5
    with pytest.raises(InputError, match="is damaged"):
        keras_ae.load_model(write(evil, members | {CONFIG: deep}))


def test_layers_of_a_users_own_need_trust(members, tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class Mine(keras.layers.Layer):
        def call(self, x):
            return x

    image = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(Mine()(image))
    encoder = keras.Model(image, [keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(192), keras.layers.Reshape((8, 8, 3))])
    mine = keras_ae.VAE(encoder, decoder)
    path = keras_ae.save_model(mine, tmp_path / "mine.keras")
    with pytest.raises(InputError, match=r"the class mine>Mine .* is not known"):
        keras_ae.load_model(path)
    assert keras_ae.load_model(path, trust=True).latent_dim == 2


def test_every_stock_layer_of_the_list_loads(tmp_path):
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, kernel_regularizer="l2")(image))
    x = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.DepthwiseConv2D(3)(keras.layers.LayerNormalization()(x)))
    x = keras.layers.GroupNormalization(2)(keras.layers.UpSampling2D()(keras.layers.Dropout(0.1)(x)))
    x = keras.layers.Flatten()(keras.layers.GaussianNoise(0.1)(keras.layers.Activation("gelu")(x)))
    encoder = keras.Model(image, [keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(192), keras.layers.Reshape((8, 8, 3))])
    path = keras_ae.save_model(keras_ae.VAE(encoder, decoder), tmp_path / "vae.keras")
    assert keras_ae.load_model(path).sample(1).shape == (1, 8, 8, 3)


OWN = {
    name: kind
    for name, kind in keras.saving.get_custom_objects().items()
    if kind.__module__.startswith("keras_ae.")  # other tests register theirs
}
LOADED = {name: kind for name, kind in OWN.items() if hasattr(kind, "scratch")}
SMALL = (
    StandardNormal | Uniform | GMM | Gaussian | Deterministic | FSQ | ELBO | Reconstruction | TotalCorrelation
)  # whatever they are told, they take next to nothing
PARTS = keras_ae.objectives.Likelihood | Latent | Prior | Objective | Regularizer  # no layers of a network
STOCK = sorted(KNOWN["keras.layers"] - {"InputLayer"})


@REFUSED
@pytest.mark.parametrize("name", LOADED)
def test_a_class_of_a_file_says_in_its_own_file_what_memory_it_takes(name):
    """And a hostile file of each layer shows that the loader looks at it (`hostile.py`)."""
    kind = LOADED[name]
    where = next(base for base in kind.__mro__ if "scratch" in vars(base))
    assert where.__module__ == kind.__module__
    if not issubclass(kind, keras_ae.VAE | keras_ae.objectives.Likelihood | KeepKnown | SMALL):
        assert any(kind.__name__ in title for title in KINDS), f"no hostile file of a {kind.__name__} in hostile.py"


@REFUSED
def test_classes_that_no_file_needs_are_refused(members, tmp_path):
    """Metrics, losses and optimizers are registered, too, but say nothing of their memory."""
    others = OWN.keys() - LOADED.keys()
    assert {"keras_ae>PSNR", "keras_ae>Terms", "keras_ae>Muon"} <= others
    terms = layer("keras_ae.models.guarded", "Terms", {"names": ["loss"]}, registered_name="keras_ae>Terms")
    with pytest.raises(InputError, match=r"the class keras_ae>Terms .* is not known"):
        keras_ae.load_model(write(tmp_path / "evil.keras", with_config(members, terms)))


@REFUSED
@pytest.mark.parametrize("kind", [*(getattr(keras.layers, name) for name in STOCK), *LOADED.values()])
def test_the_sizes_of_layers_are_known_without_computing_an_image(kind):
    """Keras else traces their calls, in which a backend may allocate."""
    if not issubclass(kind, keras.Model | PARTS):
        assert not is_default(kind.compute_output_shape)


def test_shipped_models_are_far_below_the_limit():
    for path in sorted(Path("saved_models").glob("*.keras")):
        keras_ae.load_model(path, memory=2**26)


@REFUSED
def test_the_limit_is_of_what_one_image_takes(members, tmp_path):
    path = write(tmp_path / "vae.keras", members)
    with pytest.raises(InputError, match=r"one image takes 0 MiB in it .* --max-memory .*memory=\.\.\."):
        keras_ae.load_model(path, memory=2**14)
    assert keras_ae.load_model(path, memory=2**14, trust=True).latent_dim == 4


@REFUSED
def test_what_is_checked_is_what_is_loaded(members, tmp_path, monkeypatch):
    """Another process puts a hostile file in the place of the checked one."""
    path = write(tmp_path / "vae.keras", members)
    evil = with_config(members, CONFIGS["a class of another module"])

    def check_and_swap(archive, memory):
        check(archive, memory)
        write(path, evil)

    monkeypatch.setattr("keras_ae.saving.files.check", check_and_swap)
    assert keras_ae.load_model(path).latent_dim == 4
    monkeypatch.undo()
    with pytest.raises(InputError, match="is refused"):
        keras_ae.load_model(path)


@REFUSED
@pytest.mark.parametrize(("place", "value"), [(6, 64), (8, 0x20), (8, 0x40)])
def test_archives_of_other_versions_end_in_a_line(members, tmp_path, place, value):
    """The version that a member needs, and its flags, in the list at the end of the archive."""
    path = write(tmp_path / "vae.keras", members)
    content = bytearray(path.read_bytes())
    for entry in re.finditer(b"PK\x01\x02", bytes(content)):
        content[entry.start() + place] = value
    for entry in re.finditer(b"PK\x03\x04", bytes(content)):
        content[entry.start() + place - 2] = value
    path.write_bytes(content)
    for read in (keras_ae.load_model, keras_ae.read_metadata):
        with pytest.raises(InputError, match=r"is damaged|is no \.keras file"):
            read(path)


@REFUSED
def test_weights_that_are_not_finite_are_refused(tmp_path):
    vae = small_vae()
    vae.decoder.weights[0].assign(np.full(vae.decoder.weights[0].shape, np.nan))
    path = keras_ae.save_model(vae, tmp_path / "vae.keras")
    for trust in (False, True):
        with pytest.raises(InputError, match="holds weights that are not finite"):
            keras_ae.load_model(path, trust=trust)


@REFUSED
def test_foreign_names_are_shown_escaped(members, tmp_path):
    evil = write(tmp_path / "evil.keras", members | {"\x1b[2J\r\nfine": b""})
    with pytest.raises(InputError) as refused:
        keras_ae.load_model(evil)
    assert r"\x1b[2J\r\nfine" in str(refused.value)
    assert str(refused.value).isprintable()


@REFUSED
def test_metadata_that_grow_when_they_are_read_are_not_read(members, tmp_path):
    """Without a look at the rest of the file, too."""
    evil = write(tmp_path / "evil.keras", members | {METADATA: b" " * 10**8}, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(InputError, match="compressed"):
        keras_ae.read_metadata(evil)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
