"""A model as the graphs that are exported: functional models with named inputs and outputs."""

from dataclasses import dataclass, field, replace

import keras
import numpy as np
from keras import layers, ops

from keras_ae.errors import InputError
from keras_ae.models import VAE
from keras_ae.models.restoration import classes_of

MEANINGS = {  # of the inputs and outputs that have a name of their own
    "image": "pixels, 0 to 1",
    "restored": "pixels, 0 to 1",
    "probabilities": "of the classes of each pixel",
    "mask": "1 where a pixel is known, 0 where it is missing",
    "z": "latents",
    "z_mean": "of the posterior: what stands for the image; any number",
    "z_log_var": "of the posterior: logarithm of the variance; any number",
    "noise": "standard normal, times the temperature",
    "share": "uniform, 0 to 1",
    "time": "0, 1/20, ... 19/20: the step before has made what the next one takes",
    "next_z": "z of the next step",
    "code": "latents for the decoder, after the last step",
    "guidance": "how much the label counts; 1: as in training",
    "kept": "zeros at the first place, then next_kept",
    "next_kept": "of all places so far",
    "logits": "of the codes at this place; any number",
}
CODES = 16  # that a decoder is checked with


@dataclass(frozen=True)
class Graph:
    """One network of an export.

    Attributes:
        name: "encoder", "decoder", "prior" or "restorer".
        model: functional, with named inputs and outputs.
        counts: how many values an integer input has, by its name.
        codes: of the model, (n, ...), that stand for its inputs `z`; standard normal numbers where `None`.

    >>> import keras_ae
    >>> graphs = graphs_of(keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4))
    >>> [(graph.name, graph.model.output_names) for graph in graphs]
    [('encoder', ['z_mean', 'z_log_var']), ('decoder', ['image'])]
    """

    name: str
    model: keras.Model
    counts: dict[str, int] = field(default_factory=dict)
    codes: np.ndarray | None = None

    def meaning(self, name: str, dtype: str) -> str:
        """Of an input or output, in words."""
        if name in self.counts:
            return f"0 to {self.counts[name] - 1}"
        if name == "z" and self.codes is not None:
            return f"latents; typical ones lie between {self.codes.min():.1f} and {self.codes.max():.1f}"
        return MEANINGS[name] if dtype != "uint8" else "pixels, 0 to 255"

    def random_inputs(self, n: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Of a batch of n, by name."""
        return {tensor.name: self._random(tensor, (n, *tensor.shape[1:]), random) for tensor in self.model.inputs}

    def _random(self, tensor, shape, random):
        if tensor.dtype == "uint8":
            return random.integers(0, 256, shape, dtype="uint8")
        if tensor.name in self.counts:
            return random.integers(0, self.counts[tensor.name], shape, dtype="int32")
        if tensor.name == "mask":
            return (random.random(shape) > 0.5).astype("float32")
        if tensor.name in ("image", "share", "time"):
            return random.random(shape, dtype="float32")
        if tensor.name == "z" and self.codes is not None:
            return self.codes[random.integers(0, len(self.codes), shape[0])]
        return random.standard_normal(shape, dtype="float32")


class Computed(layers.Layer):
    """What a function makes of a tensor. Within a layer its constants are the graph's, not inputs.

    Args:
        part: whose weights the function uses.

    >>> Computed(lambda x: x + ops.ones((2,)), None)(keras.Input((2,))).shape
    (None, 2)
    """

    def __init__(self, function, part):
        super().__init__(dtype="float32")
        self.function = function
        self.part = part

    def call(self, x):
        return self.function(x)


def graphs_of(model: keras.Model, *, uint8: bool = False) -> list[Graph]:
    """The networks of a model.

    Args:
        model: a `VAE`, or as `conv_autoencoder` makes it.
        uint8: whether images come and go as bytes.

    Raises:
        InputError: the model is of another kind.
    """
    if isinstance(model, VAE):
        graphs = [_encoder_of(model), _decoder_of(model), *_prior_of(model)]
    elif "image" in [tensor.name for tensor in getattr(model, "inputs", None) or []]:
        graphs = _autoencoder(model)
    else:
        raise InputError(f"a {type(model).__name__} is not exported; give a VAE, or an autoencoder of conv_autoencoder")
    graphs = [_of_bytes(graph) for graph in graphs] if uint8 else graphs
    for graph in graphs:
        graph.model(graph.random_inputs(1, np.random.default_rng(0)))  # Keras exports what was called
    return graphs


def _encoder_of(vae: VAE) -> Graph:
    image, label = keras.Input(vae.image_shape, name="image"), _label()
    takes_label = len(vae.posterior_model().inputs) > 1
    inputs = [image, label] if takes_label else [image]
    outputs = [ops.cast(x, "float32") for x in keras.tree.flatten(vae.posterior_model()(_one_or_all(inputs)))]
    if vae.latent.is_discrete:
        outputs, names = [Computed(lambda x: vae.latent.quantized(x)[0], vae.latent)(outputs[0])], ["tokens"]
    else:
        names = ["z_mean", "z_log_var"] if vae.latent.is_random else ["z"]
    return Graph("encoder", _model(inputs, outputs, names), _counts(vae))


def _decoder_of(vae: VAE) -> Graph:
    if vae.latent.is_discrete:
        code = keras.Input(vae.latent_shape[:-1], dtype="int32", name="tokens")
        z = Computed(vae.latent.vectors, vae.latent)(code)
    else:
        z = code = keras.Input(vae.latent_shape, name="z")
    label = _label()
    output = ops.cast(vae.decoder(vae.decoder_inputs(z, label)), "float32")
    image = Computed(vae.likelihood.mean, vae.likelihood)(output)
    inputs = [code] if vae.conditioning == "none" else [code, label]
    codes = None if vae.latent.is_discrete else _codes(vae)
    return Graph("decoder", _model(inputs, [ops.clip(image, 0, 1)], ["image"]), _counts(vae), codes)


def _codes(vae: VAE) -> np.ndarray:
    """Of the prior where it draws codes, else of random images."""
    random = np.random.default_rng(0)
    ids = np.arange(CODES, dtype="int32") % len(vae.class_names) if vae.class_names else None
    if vae.fills_prior:
        return vae.draw_codes(CODES, random, 1.0, ids, **({"labels": ids} if vae.prior.classes else {}))
    images = random.random((CODES, *vae.image_shape), dtype="float32")
    return vae.code(images, ids if vae.conditioning != "none" else None)


def _prior_of(vae: VAE) -> list[Graph]:
    step = vae.prior_step()
    if step is None:
        return []
    counts = _counts(vae)
    if vae.prior.takes:  # a label more, for none
        counts["label"] = vae.prior.classes + 1
    return [Graph("prior", step, counts)]


def _counts(vae: VAE) -> dict[str, int]:
    counts = {"label": len(vae.class_names)}
    if vae.latent.is_discrete:
        codes = vae.latent.codes
        counts |= {"tokens": codes, "token": codes + 1, "place": vae.latent.places}
    return counts


def _autoencoder(model) -> list[Graph]:
    """One graph; encoder and decoder where a code is all that is between them."""
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in model.inputs]
    names = [x.name for x in inputs]
    counts = {"label": classes_of(model)} if "label" in names else {}
    if len(encoder.outputs) > 1 or "mask" in names:
        image = inputs[0] * inputs[1] if "mask" in names else inputs[0]  # missing pixels may hold anything
        output = model([image, *inputs[1:]] if len(inputs) > 1 else image)
        name = "probabilities" if _segments(decoder) else "restored"
        return [Graph("restorer", _model(inputs, [ops.clip(output, 0, 1)], [name]), counts)]
    z, label = keras.Input(decoder.inputs[0].shape[1:], name="z"), _label()
    seen = inputs[: len(encoder.inputs)]
    code = encoder(_one_or_all(seen))
    decoded = decoder([z, label] if "label" in names else z)
    name = "probabilities" if _segments(decoder) else "image"
    first = Graph("encoder", _model(seen, [code], ["z"]), counts)
    codes = first.model.predict(first.random_inputs(CODES, np.random.default_rng(0)), verbose=0)
    second = _model([z, label][: len(decoder.inputs)], [ops.clip(decoded, 0, 1)], [name])
    return [first, Graph("decoder", second, counts, codes)]


def _segments(decoder) -> bool:
    return isinstance(decoder.layers[-1], layers.Softmax)


def _of_bytes(graph: Graph) -> Graph:
    """The same, with images as bytes: what comes in is divided by 255, what goes out is rounded."""
    inputs = [
        keras.Input(x.shape[1:], dtype="uint8" if x.name == "image" else x.dtype, name=x.name)
        for x in graph.model.inputs
    ]
    outputs = graph.model(_one_or_all([ops.cast(x, "float32") / 255 if x.dtype == "uint8" else x for x in inputs]))
    names = graph.model.output_names
    outputs = [
        ops.cast(ops.round(x * 255), "uint8") if name in ("image", "restored") else x
        for name, x in zip(names, keras.tree.flatten(outputs), strict=True)
    ]
    return replace(graph, model=_model(inputs, outputs, names))


def _model(inputs: list, outputs: list, names: list[str]) -> keras.Model:
    outputs = [layers.Identity(name=name, dtype=x.dtype)(x) for name, x in zip(names, outputs, strict=True)]
    return keras.Model(inputs, outputs)


def _label():
    return keras.Input((), dtype="int32", name="label")


def _one_or_all(inputs: list):
    return inputs[0] if len(inputs) == 1 else inputs
