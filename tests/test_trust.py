"""Hostile files are refused before anything in them is built; a canary shows that no code of theirs ran."""

import json
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError
from keras_ae.trust import CONFIG, METADATA, WEIGHTS
from tests.helpers import once, small_vae

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


def shell(canary):
    return f"touch {canary}"


CONFIGS = {
    "CVE-2025-1550, a function of any module": lambda canary: layer(
        "keras.layers", "Lambda", {"function": function("os", "system"), "arguments": {"command": shell(canary)}}
    ),
    "CVE-2025-1550, as an activation": lambda canary: activation(function("os", "system")),
    "CVE-2025-8747 and CVE-2025-12060, a download that is unpacked": lambda canary: activation(
        function("keras.utils", "get_file")
    ),
    "CVE-2025-9906, switching the safe mode off": lambda canary: activation(
        function("keras.config", "enable_unsafe_deserialization")
    ),
    "CVE-2024-3660, a lambda": lambda canary: layer(
        "keras.layers", "Lambda", {"function": {"class_name": "__lambda__", "config": {"code": "4wAA"}}}
    ),
    "CVE-2026-1462, a SavedModel from elsewhere": lambda canary: layer(
        "keras.layers", "TFSMLayer", {"filepath": str(canary), "call_endpoint": "serve"}
    ),
    "keras issue 23654, TFSMLayer called as a function": lambda canary: activation(
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": str(canary)}}
    ),
    "a torch module": lambda canary: layer("keras.layers", "TorchModuleWrapper", {"module": "gASV"}),
    "a JAX function": lambda canary: layer("keras.layers", "JaxLayer", {"call_fn": function("os", "system")}),
    "a class of another module": lambda canary: layer("subprocess", "Popen", {"args": shell(canary)}),
    "a class that only looks like ours": lambda canary: layer("evil", "VAE", {}, registered_name="evil>VAE"),
    "a registered function": lambda canary: activation("evil>function"),
    "an initializer that is none": lambda canary: (
        lambda whole: first(whole, "Dense")["config"].update(kernel_initializer="evil>function")
    ),
    "a quantised dtype": lambda canary: (
        lambda whole: layers(whole)[1]["config"].update(
            dtype={"module": "keras", "class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}
        )
    ),
    "more weights than the file holds": lambda canary: (
        lambda whole: first(whole, "Dense")["config"].update(units=10**9)
    ),
    "a kernel as large as memory": lambda canary: (
        lambda whole: first(whole, "Conv2D")["config"].update(kernel_size=[10**5, 10**5])
    ),
    "a layer that hides its shape": lambda canary: lambda whole: first(whole, "Dense").pop("build_config"),
}


@REFUSED
@pytest.mark.parametrize("name", CONFIGS)
def test_hostile_configs_are_refused(members, tmp_path, name):
    canary = tmp_path / "canary"
    path = write(tmp_path / "evil.keras", with_config(members, CONFIGS[name](canary)))
    with pytest.raises(InputError, match=r"is refused: .*trust"):
        keras_ae.load_model(path)
    assert not canary.exists()


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
    "CVE-2026-0897, a shape that nothing fills": _replace(
        lambda file, name: file.create_dataset(name, (2**40,), "float32", chunks=(1024,))
    ),
    "compressed numbers": _replace(
        lambda file, name: file.create_dataset(name, (10**6,), "float32", compression="gzip")
    ),
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
