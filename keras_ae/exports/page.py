"""The page: one HTML file in which a model runs, with what it shows of it."""

import base64
import gzip
import json
import re
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_ae import data
from keras_ae.errors import InputError, one_of
from keras_ae.exports import onnx
from keras_ae.exports import runtime as web
from keras_ae.exports.checks import TOLERANCES, check, check_packages
from keras_ae.exports.graphs import Graph, graphs_of
from keras_ae.files import atomic
from keras_ae.models import HierarchicalVAE
from keras_ae.objectives import kl_per_latent
from keras_ae.priors import autoregressive, flow_matching
from keras_ae.saving import SavedModel

SOURCES = Path(__file__).parent / "page"
SCRIPTS = ("runtime", "sampling", "drawing", "visit", "explorer", "restorer", "main")
RUNTIMES = ("inline", "cdn")
MAPPED = 500  # images on the map
GALLERY, GALLERY_BYTES = 24, 600_000  # images to start from
DRAWS = 256  # from a prior, for its mean and spread
DIGITS = 4  # of the numbers in the page


def export_page(
    saved: SavedModel,
    path: Path | str,
    dataset: data.Dataset | None = None,
    *,
    weights: str | None = None,
    runtime: str = "inline",
    runtime_folder: Path | None = None,
) -> Path:
    """Writes one HTML file that runs a model in a browser, without a server.

    Of a VAE it has sliders, samples, interpolations and a map; of an autoencoder that restores, a brush and a wipe. An
    image of the visitor's own never leaves the browser.

    Args:
        saved: as `open_model` gives it, on the TensorFlow backend.
        path: of the page.
        dataset: whose test images it shows; where `None`, samples of the model, or drawn shapes.
        weights: "float32" or "float16"; where `None`, float16 wherever the outputs agree to 2e-3.
        runtime: "inline", with onnxruntime-web within it; or "cdn", with a link to it.
        runtime_folder: the unpacked npm package; where `None`, `npm pack` fetches it.

    Raises:
        InputError: as `export_model`; an unknown runtime or weights; or onnxruntime-web is not there, or of another
            version.

    >>> import keras_ae
    >>> saved = keras_ae.open_model("no.keras")
    Traceback (most recent call last):
    keras_ae.errors.InputError: there is no file no.keras; give a .keras file
    """
    one_of(runtime, RUNTIMES, "runtime")
    if weights is not None:
        one_of(weights, TOLERANCES, "weights")
    if runtime == "cdn" and runtime_folder:
        raise InputError("the runtime cdn takes no runtime_folder; leave one of them out")
    path = Path(path)
    check_packages(onnx, "html")
    parts = {} if runtime == "cdn" else web.contents(runtime_folder)
    graphs = graphs_of(saved.model)
    parts |= _networks(graphs, weights)
    about = _about(saved, graphs, dataset)
    about["runtime"] = web.links() if runtime == "cdn" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(_put_together(about, parts))
    return path


def _networks(graphs: list[Graph], weights: str | None) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return {graph.name: _network(graph, Path(folder, f"{graph.name}.onnx"), weights) for graph in graphs}


def _network(graph: Graph, path: Path, weights: str | None) -> bytes:
    """The ONNX file, checked."""
    try:
        onnx.write(graph, path, weights or "float16")
        check(graph, onnx.runner(path), weights or "float16")
    except InputError:
        if weights:
            raise
        onnx.write(graph, path, "float32")
        check(graph, onnx.runner(path), "float32")
    return path.read_bytes()


def _put_together(about: dict, parts: dict[str, bytes]) -> str:
    page = (SOURCES / "page.html").read_text()
    packed = [
        f'<script type="text/plain" id="{name}">{base64.b64encode(gzip.compress(content, mtime=0)).decode()}</script>'
        for name, content in parts.items()
    ]
    written = {
        "/*STYLE*/": (SOURCES / "page.css").read_text(),
        # What a file says stays text: no end of the element, no comment, begins within it.
        "/*ABOUT*/": json.dumps(about).replace("<", "\\u003c"),
        "<!--PARTS-->": "\n".join(packed),
        "/*SCRIPT*/": "\n".join((SOURCES / f"{name}.js").read_text() for name in SCRIPTS),
    }
    marks = "|".join(map(re.escape, written))
    return re.sub(marks, lambda mark: written[mark[0]], page)  # at once, as a text may hold another's mark


def _about(saved: SavedModel, graphs: list[Graph], dataset) -> dict:
    """What the page knows of the model, as JSON."""
    model = saved.model
    by_name = {graph.name: graph for graph in graphs}
    takes = {name: [tensor.name for tensor in graph.model.inputs] for name, graph in by_name.items()}
    size = "x".join(map(str, saved.image_shape))
    task = saved.metadata.get("task")
    about = {
        "title": saved.path.stem,
        "image_shape": saved.image_shape,
        "graphs": {name: {"inputs": _inputs(graph)} for name, graph in by_name.items()},
        "class_names": _class_names(saved, by_name),
        "takes_labels": any("label" in names for names in takes.values()),
        "encoder_takes_label": "label" in takes.get("encoder", ()),
        "restores": "restorer" in by_name,
        "denoises": task == "denoise",
        "samples": False,
        "latent_shape": [1],
        "prior_classes": 0,
        "guidance": 1,
        "map": None,
    }
    if about["restores"]:
        images, labels, names, what = _starting_images(saved, dataset)
        return about | {"text": f"{task or 'restore'}, {size}", "images": _gallery(images, labels, names)}
    is_tokens = "tokens" in takes["decoder"]
    about["latent"] = "tokens" if is_tokens else "vector"
    about["latent_shape"] = by_name["decoder"].model.inputs[0].shape[1:]
    about["codes"] = by_name["decoder"].counts.get("tokens")
    about |= _prior(model, by_name, takes) if saved.is_vae else {"prior": "normal"}
    images, labels, names, what = _starting_images(saved, dataset)
    latents = "x".join(map(str, about["latent_shape"]))
    words = "tokens" if is_tokens else "latents"
    about["text"] = f"{'VAE' if saved.is_vae else 'autoencoder'} of {size}, {latents} {words}. {what}"
    about["images"] = _gallery(images, labels, names)
    if not is_tokens:
        codes, moments = _codes(by_name["encoder"], images, labels)
        centre, spread = _moments(model) if about["samples"] else (codes.mean(0), codes.std(0))
        spread = np.maximum(spread, 1e-3)
        ranked = np.argsort(-_carried(moments, centre, spread))
        about |= {"centre": _rounded(centre), "spread": _rounded(spread), "ranked": ranked.tolist()}
        if codes.shape[1] > 1 and len(codes) > 2:
            axes = _axes(codes, centre, ranked)
            about["map"] = {"labels": [int(label) for label in labels], "class_names": names, "axes": axes}
    return about


def _inputs(graph: Graph) -> list[dict]:
    return [
        {"name": tensor.name, "shape": list(tensor.shape[1:]), "type": tensor.dtype} for tensor in graph.model.inputs
    ]


def _class_names(saved: SavedModel, graphs: dict[str, Graph]) -> list[str]:
    if saved.is_vae:
        return saved.model.class_names if saved.model.samples_classes else []
    count = next(iter(graphs.values())).counts.get("label", 0)
    return saved.class_names if len(saved.class_names) == count else [str(label) for label in range(count)]


def _prior(vae, graphs, takes) -> dict:
    """How the page samples."""
    kind = "uniform" if vae.latent.is_discrete else "normal"
    if "prior" in graphs:
        kind = next(kind for name, kind in PRIORS.items() if name in takes["prior"])
    guidance = {"steps": flow_matching.GUIDANCE, "tokens": autoregressive.GUIDANCE}.get(kind, 1)
    return {
        "prior": kind,
        "samples": vae.fills_prior,
        "prior_classes": vae.prior.classes,
        "steps": flow_matching.STEPS,
        "guidance": guidance if vae.prior.takes else 1,
    }


PRIORS = {"time": "steps", "kept": "tokens", "noise": "once"}  # by an input that only this kind has


def _starting_images(saved: SavedModel, dataset) -> tuple:
    """Images, their labels, the names of these, and in words what they are."""
    if dataset is not None:
        split = dataset.splits["test"] if len(dataset.splits["test"]) else dataset.train
        batch = split.batch(slice(0, MAPPED))
        return batch["image"], batch["label"], list(dataset.class_names), f"Images: {dataset.name}."
    if saved.is_vae and saved.model.fills_prior:
        vae = saved.model
        names = vae.class_names if vae.samples_classes else []
        labels = np.arange(MAPPED) % max(1, len(names))
        return vae.sample(MAPPED, labels if names else None, seed=0), labels, names, "Images: its own samples."
    shapes = data.load("shapes", image_size=saved.image_shape[:2], limit=MAPPED).test
    images = shapes.batch(slice(0, MAPPED))["image"]
    if saved.image_shape[2] != images.shape[3]:
        images = np.repeat(images.mean(-1, keepdims=True), saved.image_shape[2], axis=-1)
    return images, np.zeros(len(images), int), [], "Images: drawn shapes."


def _gallery(images, labels, names) -> dict:
    count = max(1, min(GALLERY, len(images), GALLERY_BYTES // images[0].size))
    content = np.round(images[:count] * 255).astype("uint8").tobytes()
    return {
        "count": count,
        "data": base64.b64encode(content).decode(),
        "labels": [int(label) for label in labels[:count]],
        "class_names": names,
    }


def _codes(encoder: Graph, images, labels) -> tuple[np.ndarray, list[np.ndarray]]:
    """The codes of images, (n, latents), and all that the encoder says of them."""
    takes_label = "label" in [tensor.name for tensor in encoder.model.inputs]
    inputs = {"image": images} | ({"label": labels.astype("int32")} if takes_label else {})
    moments = [x.reshape(len(images), -1) for x in keras.tree.flatten(encoder.model.predict(inputs, verbose=0))]
    return moments[0], moments


def _carried(moments: list[np.ndarray], centre, spread) -> np.ndarray:
    """What each latent carries: the mean KL to a normal distribution with the prior's mean and standard deviation; of
    codes without noise the variance."""
    if len(moments) == 1:
        return moments[0].var(0)
    mean, log_var = moments
    ops = keras.ops
    scaled = [ops.convert_to_tensor(x, "float32") for x in ((mean - centre) / spread, log_var - 2 * np.log(spread))]
    return ops.convert_to_numpy(kl_per_latent(*scaled)).mean(0)


def _moments(vae) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the prior's latents."""
    if vae.prior.is_standard and not isinstance(vae, HierarchicalVAE):
        return np.zeros(vae.latent_dim), np.ones(vae.latent_dim)
    ids = np.arange(DRAWS, dtype="int32") % max(1, len(vae.class_names))
    more = {"labels": ids} if vae.prior.classes else {}
    draws = vae.draw_codes(DRAWS, np.random.default_rng(0), 1.0, ids, **more).reshape(DRAWS, -1)
    return draws.mean(0), draws.std(0)


def _axes(codes, centre, ranked) -> list[dict]:
    """The two leading latents, and the two directions of largest variance, as planes of the code's space."""
    units = np.eye(codes.shape[1], dtype="float32")[ranked[:2]]
    flat = centre.copy()
    flat[ranked[:2]] = 0
    mean = codes.mean(0)
    directions = np.linalg.svd(codes - mean, full_matrices=False)[2][:2]
    planes = {f"z{ranked[0]} and z{ranked[1]}": (flat, units), "principal components": (mean, directions)}
    return [
        {
            "name": name,
            "origin": _rounded(origin),
            "across": _rounded(axes[0]),
            "up": _rounded(axes[1]),
            "points": [_rounded(point) for point in (codes - origin) @ axes.T],
        }
        for name, (origin, axes) in planes.items()
    ]


def _rounded(values) -> list[float]:
    return [round(float(value), DIGITS) for value in values]
