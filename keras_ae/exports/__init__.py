"""Trained models where no Keras is: ONNX, SavedModel, LiteRT, and a page that shows what a model has learned."""

import os
import shutil
import tempfile
from pathlib import Path

import keras

from keras_ae.errors import InputError, one_of
from keras_ae.exports import litert, onnx, saved_model
from keras_ae.exports.card import card
from keras_ae.exports.checks import TOLERANCES, check, check_packages
from keras_ae.exports.graphs import graphs_of
from keras_ae.exports.page import export_page

FORMATS = {"onnx": onnx, "saved_model": saved_model, "litert": litert}


def export_model(
    model: keras.Model,
    folder: Path | str,
    format: str = "onnx",
    *,
    weights: str = "float32",
    uint8: bool = False,
) -> Path:
    """Writes the networks of a model for a runtime without Keras: a file each, and a card, README.md, with their
    inputs, outputs and an example.

    A `VAE` becomes `encoder`, `decoder` and, where the prior computes something, `prior`, which is one step of its
    sampling. An autoencoder becomes the same, or `restorer` where more than a code is between its networks. Batches
    have any size. Each file is compared with the model's `predict` before it is kept: to 1e-5, or 2e-3 with float16
    weights, of the largest number, or of 1.

    Args:
        model: a `VAE`, or as `conv_autoencoder` makes it, on the TensorFlow backend.
        folder: which is made here.
        format: "onnx", "saved_model" or "litert".
        weights: "float32"; or "float16", kept as such and computed with as float32, in half the space.
        uint8: whether images come and go as bytes.

    Raises:
        InputError: another backend, a missing package, an unknown format, a folder that exists, a layer that the format
            does not know, or outputs that differ.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> keras_ae.export_model(vae, "exported", "onyx")
    Traceback (most recent call last):
    keras_ae.errors.InputError: unknown format 'onyx'; known are onnx, saved_model, litert
    """
    one_of(format, FORMATS, "format")
    one_of(weights, TOLERANCES, "weights")
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists already; give another folder")
    made = FORMATS[format]
    check_packages(made, format)
    graphs = graphs_of(model, uint8=uint8)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name[:50]}.", dir=folder.parent))
    try:
        differences = {}
        for graph in graphs:
            path = temporary / f"{graph.name}{made.SUFFIX}"
            made.write(graph, path, weights)
            differences[graph.name] = check(graph, made.runner(path), weights)
        (temporary / "README.md").write_text(card(model, graphs, made, weights, differences))
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


__all__ = ["export_model", "export_page"]
