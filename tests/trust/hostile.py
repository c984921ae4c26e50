"""Hostile `.keras` files, and the harm that each does where nothing looks at it.

A kind counts only because its harm is seen: `seen` loads the file with Keras alone, in a child of this process.
"""

import io
import json
import os
import resource
import signal
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib

import keras_ae
from keras_ae import objectives, priors
from keras_ae.layers import missing
from keras_ae.priors import autoregressive, flow_matching
from keras_ae.trust import CONFIG, METADATA, WEIGHTS

MANY = 2 * 10**7  # numbers, 80 MB
LIMIT = 2**25  # bytes that one image may take in the tests: 32 MB
HARMFUL = 50  # MB, for a file of 0.1
PATIENCE = 8  # seconds, after which something never ends


@dataclass(frozen=True)
class Kind:
    """A kind of hostile file.

    Attributes:
        harm: "memory" that it takes, "time" that does not end, or "code" of others that it runs.
        reason: a regular expression of the message that refuses it.
        make: (members of a harmless file, folder) -> members of the hostile one.
    """

    harm: str
    reason: str
    make: Callable[[dict, Path], dict]


def read(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: dict, compressed=()) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if name in compressed else zipfile.ZIP_STORED)
    return path


# How files are made hostile


def with_config(change):
    """Makes a change to the config of the VAE, whose encoder and decoder are Keras models."""

    def make(members, folder):
        config = json.loads(members[CONFIG])
        change(config["config"])
        return members | {CONFIG: json.dumps(config).encode()}

    return make


def first(config, class_name) -> dict:
    """The first layer of that class in the encoder, or else in the decoder."""
    every = [*config["encoder"]["config"]["layers"], *config["decoder"]["config"]["layers"]]
    return next(layer for layer in every if layer["class_name"] == class_name)


def setting(class_name, **values):
    """Changes what a layer says of itself."""
    return with_config(lambda config: first(config, class_name)["config"].update(values))


def built_for(class_name, shape, **values):
    """The same, and the shape that the layer says it was built for."""

    def change(config):
        first(config, class_name)["build_config"] = {"input_shape": shape}
        first(config, class_name)["config"].update(values)

    return with_config(change)


def part(name, member):
    """Another member of the family, which the file has no weights of."""
    return with_config(with_part(name, member))


def with_part(name, member):
    return lambda config: config.update({name: keras.saving.serialize_keras_object(member)})


def _encoder(build) -> keras.Model:
    """Makes something of an image (8, 8, 3), and of this one number, so that the rest of the encoder is small."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.GlobalMaxPooling2D()(layers.Reshape((-1, 1, 1))(build(image)))
    return keras.Model(image, [layers.Dense(4)(x), layers.Dense(4)(x)])


def asking(build):
    """An encoder that asks for weights which the file does not hold."""

    def change(config):
        with keras.StatelessScope(initialize_variables=False):
            config["encoder"] = keras.saving.serialize_keras_object(_encoder(build))
        global_state.set_global_attribute("uninitialized_variables", [])

    return with_config(change)


def unused(layer, shape):
    """A layer in the encoder, built for a shape, that nothing leads to."""

    def change(config):
        spare = keras.saving.serialize_keras_object(layer)
        spare |= {"build_config": {"input_shape": shape}, "name": "unused", "inbound_nodes": []}
        spare["config"]["name"] = "unused"  # which no other layer has
        config["encoder"]["config"]["layers"].append(spare)

    return with_config(change)


def genuine(build):
    """A file as `save_model` writes it, whose encoder makes large things of small ones."""

    def make(members, folder):
        decoder = keras_ae.build_decoder((8, 8, 3), 4, width=4)
        vae = keras_ae.VAE(_encoder(build), decoder)
        return read(keras_ae.save_model(vae, folder / "genuine.keras"))

    return make


def quantised(members, folder):
    """A file of a VAE with a code of many features for each token."""
    vae = keras_ae.build_vae((8, 8, 3), 400, network="mlp", latent="vq_cosine:2", width=2)
    return read(keras_ae.save_model(vae, folder / "quantised.keras"))


def many_classes(members, folder):
    """The same, with a label of so many classes that one of them takes as much."""
    image, label = keras.Input((8, 8, 3), name="image"), keras.Input((), dtype="int32", name="label")
    x = layers.Reshape((-1, 1, 1))(keras_ae.layers.OneHot(MANY)(label))
    x = layers.Concatenate()([layers.GlobalMaxPooling2D()(x), layers.GlobalMaxPooling2D()(image)])
    encoder = keras.Model([image, label], [layers.Dense(4)(x), layers.Dense(4)(x)])
    decoder = keras_ae.build_decoder((8, 8, 3), 4, width=4, num_classes=2)
    vae = keras_ae.VAE(encoder, decoder, class_names=["a", "b"], conditioning="both")
    return read(keras_ae.save_model(vae, folder / "genuine.keras"))


def then(make, change):
    """A file made by `make`, with a change to its config."""
    return lambda members, folder: with_config(change)(make(members, folder), folder)


def larger(members_name):
    """A member that is large, and small while it is compressed."""

    def make(members, folder):
        return members | {members_name: b" " * 4 * MANY + members[members_name]}

    return make


def first_array(file) -> str:
    found = []
    file.visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return found[0]


def weights(change):
    """Makes a change to the HDF5 file of the weights: (file, name and shape of its first array, folder)."""

    def make(members, folder):
        path = folder / "weights.h5"
        path.write_bytes(members[WEIGHTS])
        with h5py.File(path, "r+") as file:
            name = first_array(file)
            change(file, name, file[name].shape, folder)
        return members | {WEIGHTS: path.read_bytes()}

    return make


def _nothing_fills(file, name, shape, folder):
    del file[name]
    file.create_dataset(name, (MANY,), "float32", chunks=(1024,))


def _filtered(**filters):
    def change(file, name, shape, folder):
        del file[name]
        file.create_dataset(name, data=np.zeros(MANY, "float32"), **filters)

    return weights(change)


# The kinds


def weighing(make, reason=r"its layers ask for [\d,]+ weights") -> Kind:
    return Kind("memory", reason, make)


def large(build, reason=r"one image takes [\d,]+ MiB") -> Kind:
    return Kind("memory", reason, genuine(build))


def spare(layer, shape) -> Kind:
    return Kind("memory", r"it makes [\d,]+ variables", unused(layer, shape))


def foreign(make, reason="is not known") -> Kind:
    return Kind("code", reason, make)


def own_convolution_without_module(config):
    layer = first(config, "Conv2D")
    del layer["module"]
    layer["config"]["filters"] = MANY // 48


def stranger(name) -> dict:
    return {"module": "evil", "class_name": name, "config": {}, "registered_name": f"evil>{name}"}


def in_place_of(class_name, config_of_layer):
    """Another layer in the place of the first of a class, under its name."""

    def change(config):
        layer = first(config, class_name)
        config_of_layer["config"]["name"] = layer["config"]["name"]
        layer.update(config_of_layer)

    return with_config(change)


def _rows(x, n=4800):
    """(n, 1) of the image."""
    return layers.Reshape((n, 1))(layers.UpSampling2D((5, n // 960))(x))


def _doubled(x):
    for _ in range(17):
        x = layers.Concatenate()([x, x])
    return x


def _cut(x):
    return layers.Cropping2D(((0, 0), (0, 3000 * 8 - 8)))(layers.UpSampling2D((100, 3000))(x))


def _twice(x):
    """A network within the network."""
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.UpSampling2D(400)])
    return inner(x)


def _filled(x):
    mask = layers.GlobalMaxPooling2D(keepdims=True)(x)
    mask = layers.UpSampling2D(8)(layers.Dense(1)(mask))
    return missing.FillMissing()([x, mask])


def _of_many_blocks(prior):
    prior.blocks = 10**9
    return prior


BLOCKS = "1000000000 blocks are not possible"
MANY_BLOCKS = with_part("prior", _of_many_blocks(priors.Autoregressive()))
CONTRADICTION = r"is damaged \(ValueError\)"  # the layer is built for another image than it gets
KINDS = {
    # More weights than the file holds
    "Dense, units": weighing(setting("Dense", units=MANY // 256), "it must take"),
    "Dense, built for another shape": weighing(built_for("Dense", [None, MANY // 4]), CONTRADICTION),
    "Dense, no inputs": weighing(built_for("Dense", [None, 0], units=MANY), CONTRADICTION),
    "Dense, rank of LoRA": weighing(setting("Dense", lora_rank=MANY // 256), "weights of LoRA"),
    "Conv2D, filters": weighing(setting("Conv2D", filters=MANY // 48), CONTRADICTION),
    "Conv2D, kernel": weighing(setting("Conv2D", kernel_size=[700, 700])),
    "Conv2D, channels first": weighing(
        built_for("Conv2D", [None, MANY // 256, 8, 8], data_format="channels_first"), CONTRADICTION
    ),
    "Conv2D, no module": weighing(with_config(own_convolution_without_module), "format of older versions"),
    "Conv2DTranspose, filters": weighing(setting("Conv2DTranspose", filters=MANY // 256), "the decoder gives"),
    "Conv2DTranspose, kernel": weighing(setting("Conv2DTranspose", kernel_size=[700, 700])),
    "stock Dense": weighing(asking(layers.Dense(MANY // 3))),
    "stock Conv2D": weighing(asking(layers.Conv2D(MANY // 27, 3))),
    "stock Conv2DTranspose": weighing(asking(layers.Conv2DTranspose(1, 2600))),
    "Conv1D": weighing(asking(lambda x: layers.Conv1D(MANY // 9, 3)(layers.Reshape((64, 3))(x)))),
    "Conv3D": weighing(asking(lambda x: layers.Conv3D(MANY, 1)(layers.Reshape((8, 8, 3, 1))(x)))),
    "DepthwiseConv2D": weighing(asking(layers.DepthwiseConv2D(3, depth_multiplier=MANY // 27))),
    "Embedding": weighing(asking(lambda x: layers.Embedding(MANY, 1)(layers.Flatten()(x)))),
    "a network within the network": weighing(
        asking(lambda x: keras.Sequential([keras.Input((8, 8, 3)), layers.Dense(MANY // 3)])(x))
    ),
    # Weights of normalisations, and of layers that nothing leads to
    "BatchNormalization": spare(layers.BatchNormalization(), [None, MANY // 4]),
    "LayerNormalization, all axes": spare(layers.LayerNormalization(axis=[1, 2, 3, 4]), [None, 8, 8, 8, MANY // 512]),
    "GroupNormalization": spare(layers.GroupNormalization(1), [None, 8, MANY // 2]),
    "PReLU": spare(layers.PReLU(), [None, 8, 8, MANY // 64]),
    "PReLU, shared axes": spare(layers.PReLU(shared_axes=[1]), [None, 1, MANY]),
    "Dense, unused": spare(layers.Dense(MANY // 8), [None, 8]),
    "Dense, unused and without inputs": spare(layers.Dense(MANY), [None, 0]),
    "Conv2D, unused": spare(layers.Conv2D(MANY // 8, 1), [None, 8, 8, 8]),
    "Embedding, unused": spare(layers.Embedding(MANY // 8, 8), [None]),
    "own Conv2D, unused": spare(keras_ae.layers.Conv2D(MANY // 8, 1), [None, 8, 8, 8]),
    # Images larger than memory, of few weights
    "UpSampling2D": large(layers.UpSampling2D(400)),
    "UpSampling2D, of a network within the network": large(_twice),
    "Resizing": large(layers.Resizing(3000, 3000)),
    "ZeroPadding2D": large(layers.ZeroPadding2D(1500)),
    "RepeatVector": large(lambda x: layers.RepeatVector(MANY // 192)(layers.Flatten()(x))),
    "Conv2DTranspose, strides": large(layers.Conv2DTranspose(1, 1, strides=400)),
    "own Conv2DTranspose, strides": large(keras_ae.layers.Conv2DTranspose(1, 1, strides=400)),
    "Conv2D, padded": large(lambda x: layers.Conv2D(8, 1)(layers.ZeroPadding2D(1000)(x))),
    "Dense, of many places": large(lambda x: layers.Dense(64)(layers.UpSampling2D(100)(x))),
    "Dot": large(lambda x: layers.Dot(axes=2)([_rows(x), _rows(x)])),
    "Multiply, broadcast": large(lambda x: layers.Multiply()([_rows(x), layers.Permute((2, 1))(_rows(x))])),
    "Add, broadcast": large(lambda x: layers.Add()([_rows(x), layers.Permute((2, 1))(_rows(x))])),
    "Concatenate, again and again": large(_doubled),
    "Cropping2D, of something large": large(_cut),
    "Embedding, of every pixel": large(lambda x: layers.Embedding(2, MANY // 192)(layers.Flatten()(x))),
    "OneHot": Kind("memory", r"one image takes [\d,]+ MiB", many_classes),
    "Activation, of something large": large(lambda x: layers.Activation("gelu")(layers.UpSampling2D(300)(x))),
    "GaussianNoise, of something large": large(lambda x: layers.Softmax()(layers.UpSampling2D(300)(x))),
    # Members of the family
    "GaussianMixture, components": weighing(part("prior", priors.GaussianMixture(MANY // 8))),
    "FlowMatching, width": weighing(part("prior", priors.FlowMatching(width=800))),
    "VampPrior, pseudo-images": weighing(part("prior", priors.VampPrior(MANY // 192))),
    "FlowPrior, hidden features": weighing(part("prior", priors.FlowPrior(1, hidden=4000))),
    "CosineVQ, codes": weighing(
        then(quantised, lambda config: config["latent"]["config"].update(codes=2**15)),
    ),
    "IWAE, draws": Kind("memory", r"one image takes [\d,]+ MiB", part("objective", objectives.IWAE(10_000))),
    # Time
    "FlowMatching, blocks": Kind("time", BLOCKS, part("prior", _of_many_blocks(priors.FlowMatching()))),
    "Autoregressive, blocks": Kind("time", BLOCKS, then(quantised, MANY_BLOCKS)),
    "FillMissing, iterations": Kind(
        "time",
        "10000000000 iterations are not possible",
        then(genuine(_filled), lambda config: first(config, "FillMissing")["config"].update(iterations=10**10)),
    ),
    # What is small only while it is compressed
    "compressed config": weighing(larger(CONFIG), "is compressed"),
    "compressed metadata of Keras": weighing(larger("metadata.json"), "is compressed"),
    "compressed metadata of ours": weighing(larger(METADATA), "is compressed"),
    "compressed weights": weighing(larger(WEIGHTS), "is compressed"),
    # Weights that are elsewhere, or grow
    "CVE-2026-0897, a shape that nothing fills": weighing(weights(_nothing_fills), "as they are"),
    "weights, compressed with gzip": weighing(_filtered(compression="gzip"), "as they are"),
    "weights, compressed with lzf": weighing(_filtered(compression="lzf"), "as they are"),
    "weights, packed by an offset": weighing(_filtered(scaleoffset=2), "as they are"),
    # What other code of the process has registered
    "a function as activation, described": foreign(
        setting("Dense", activation={"class_name": "function", "config": "evil>function", "module": "evil"})
    ),
    "a function as initializer": foreign(setting("Dense", kernel_initializer="evil>function")),
    "a function as bias initializer": foreign(setting("Conv2D", bias_initializer="evil>function")),
    "a class as regularizer": foreign(setting("Dense", kernel_regularizer=stranger("Stranger"))),
    "a class as constraint": foreign(setting("Dense", kernel_constraint=stranger("Stranger"))),
    "a class as layer": foreign(in_place_of("Flatten", stranger("Stranger"))),
    "a class as likelihood": foreign(with_config(lambda config: config.update(likelihood=stranger("Stranger")))),
    "a class as dtype": foreign(setting("Dense", dtype=stranger("Stranger"))),
}
COMPRESSED = {
    "compressed config": CONFIG,
    "compressed metadata of Keras": "metadata.json",
    "compressed metadata of ours": METADATA,
    "compressed weights": WEIGHTS,
}


def make(name: str, members: dict, folder: Path) -> Path:
    """The hostile file of a kind."""
    compressed = [COMPRESSED[name]] if name in COMPRESSED else []
    return write(folder / "evil.keras", KINDS[name].make(members, folder), compressed)


# What they do where nothing looks at them


def strangers(folder: Path) -> dict:
    """What other code may have registered. It leaves a canary when it runs."""

    def leave(*args, **kwargs):
        (folder / "canary").touch()
        return args[0] if args else None

    class Stranger(keras.layers.Layer):
        def __init__(self, **kwargs):
            leave()
            super().__init__(name=kwargs.get("name"))

    return {"evil>function": leave, "evil>Stranger": Stranger}


def seen(name: str, path: Path, folder: Path) -> str:
    """The harm that the file does to Keras alone."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        found = b"nothing"
        try:
            signal.signal(signal.SIGALRM, lambda *_: (os.write(into, b"time"), os._exit(0)))
            signal.alarm(PATIENCE)
            found = _harm(name, path, folder).encode()
        finally:
            os.write(into, found)
            os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        harm = pipe.read().decode()
    os.waitpid(child, 0)
    return harm


def _harm(name, path, folder) -> str:
    before = _peak()
    warnings.simplefilter("ignore")
    missing.MOST_ITERATIONS = 10**12  # our checks that are no part of the loader
    autoregressive.MOST_BLOCKS = flow_matching.MOST_BLOCKS = 10**12
    try:
        if name in COMPRESSED:
            zipfile.ZipFile(path).read(COMPRESSED[name])
        model = saving_lib.load_model(io.BytesIO(path.read_bytes()), compile=False)
        inputs = [np.zeros((1, *tensor.shape[1:]), tensor.dtype) for tensor in model.encoder.inputs]
        model.encoder.predict(inputs, verbose=0)
        if model.conditioning == "none":
            model.evaluate(inputs[0], verbose=0)
    except Exception as error:  # it may stumble when the harm is done
        if os.environ.get("HOSTILE_DEBUG"):
            print(name, type(error), str(error)[:300])
    if (folder / "canary").exists():
        return "code"
    return "memory" if _peak() - before > HARMFUL else "nothing"


def _peak() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
