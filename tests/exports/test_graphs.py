"""The graphs that are exported compute what the model does, on every backend."""

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import priors
from keras_ae.exports.graphs import graphs_of
from tests.family import FITTED, MEMBERS, SHAPE, member
from tests.helpers import set_weights

IMAGES = np.random.default_rng(0).random((3, *SHAPE), dtype="float32")
LABELS = np.array([2, 0, 1], "int32")


def computed(graph, **inputs) -> dict:
    outputs = keras.tree.flatten(graph.model.predict(inputs, verbose=0))
    return dict(zip(graph.model.output_names, outputs, strict=True))


def by_name(model, **kwargs) -> dict:
    return {graph.name: graph for graph in graphs_of(model, **kwargs)}


def takes(graph, **inputs) -> dict:
    """Those of the inputs that the graph has."""
    return {tensor.name: inputs[tensor.name] for tensor in graph.model.inputs}


@pytest.mark.parametrize("name", ["spatial mixture", "fsq", "vq", "hierarchy", "deterministic", "logistic mixture"])
def test_encoder_and_decoder_are_the_models(name):
    vae = member(**MEMBERS[name])
    labels = LABELS if vae.conditioning != "none" else None
    graphs = by_name(vae)
    encoded = computed(graphs["encoder"], **takes(graphs["encoder"], image=IMAGES, label=LABELS))
    expected = vae.encode(IMAGES, labels)
    for one, other in zip(encoded.values(), expected if isinstance(expected, tuple) else [expected], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    code = {"tokens": encoded.get("tokens"), "z": vae.code(IMAGES, labels)}
    decoded = computed(graphs["decoder"], **takes(graphs["decoder"], label=LABELS, **code))
    np.testing.assert_allclose(decoded["image"], vae.reconstruct(IMAGES, labels), atol=1e-5)


ONCE = {
    "mixture": lambda: member(**MEMBERS["spatial mixture"]),
    "vamp": lambda: member(**MEMBERS["vamp"]),
    "flow": lambda: member(**MEMBERS["residual flow"]),
    "hierarchy": lambda: member(**MEMBERS["hierarchy"]),
    "gmm": FITTED["gmm"],
}


@pytest.mark.parametrize("name", ONCE)
def test_a_prior_of_one_step_draws_what_sample_does(name):
    vae = ONCE[name]()
    step = by_name(vae)["prior"]
    random = np.random.default_rng(5)
    n = 60
    labels = (np.arange(n) % 3).astype("int32")
    draws = {"label": labels}
    if "share" in [tensor.name for tensor in step.model.inputs]:
        draws["share"] = random.random((n, 1) if name == "gmm" else n).reshape(n).astype("float32")
    top = vae.prior.noise(n, random) if name != "gmm" else random.standard_normal((n, *vae.latent_shape))
    draws["noise"] = np.float32(0.7) * top.astype("float32")
    if name == "hierarchy":
        rest = random.standard_normal((n, *vae.latent_shape), dtype="float32")
        rest[:, : vae.prior.latents] = top.reshape(n, -1)
        draws["noise"] = np.float32(0.7) * rest
    drawn = computed(step, **takes(step, **draws))["z"]
    more = {"labels": labels} if vae.prior.classes else {}
    expected = vae.draw_codes(n, np.random.default_rng(5), 0.7, labels, **more)
    np.testing.assert_allclose(drawn, expected, atol=1e-4)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_steps_of_flow_matching_are_its_samples(guidance):
    vae = FITTED["flow matching"]()
    vae.prior.mean.assign([0.5, -1.0])
    vae.prior.std.assign([2.0, 0.3])
    step = by_name(vae)["prior"]
    z = np.random.default_rng(3).standard_normal((3, 2, 3, 2), dtype="float32")
    for number in range(20):
        time = np.full(3, number / 20, "float32")
        outputs = computed(step, z=z, time=time, label=LABELS, guidance=np.full(3, guidance, "float32"))
        z = outputs["next_z"]
    expected = vae.prior.sample(3, np.random.default_rng(3), labels=LABELS, guidance=guidance)
    np.testing.assert_allclose(outputs["code"], expected, atol=1e-4)


def test_steps_of_tokens_are_their_samples():
    vae = FITTED["tokens"]()
    step = by_name(vae)["prior"]
    places, codes = 6, 6
    shares = np.random.default_rng(4).random((3, places))
    kept = np.zeros((3, *step.model.inputs[3].shape[1:]), "float32")
    token, drawn = np.full(3, codes, "int32"), []
    for place in range(places):
        outputs = computed(step, token=token, place=np.full(3, place, "int32"), label=LABELS, kept=kept)
        kept = outputs["next_kept"]
        token = priors.autoregressive.drawn(outputs["logits"].astype("float64"), shares[:, place]).astype("int32")
        drawn.append(token)
    expected = vae.prior.sample(3, np.random.default_rng(4), labels=LABELS, guidance=1.0)
    np.testing.assert_array_equal(np.stack(drawn, 1).reshape(3, 2, 3), expected)


@pytest.mark.parametrize("task", ["reconstruct", "denoise", "complete", "segment"])
def test_autoencoders_are_restored(task, random):
    model = keras_ae.conv_autoencoder(
        (8, 9, 3), 2, 4, task=task, skip_connections=task != "reconstruct", num_classes=3, conditioning="both", width=4
    )
    set_weights(model.weights)
    images = random.integers(0, 256, (3, 8, 9, 3), dtype="uint8")
    mask = np.ones((3, 8, 9, 1), "float32")
    mask[:, 2:5, 3:6] = 0
    expected = keras_ae.restore_images(
        model, images / 255, labels=LABELS, **({"mask": mask} if task == "complete" else {})
    )
    graphs = by_name(model, uint8=True)
    if task == "reconstruct":
        z = computed(graphs["encoder"], image=images, label=LABELS)["z"]
        restored = computed(graphs["decoder"], z=z, label=LABELS)["image"]
    else:
        (restored,) = computed(
            graphs["restorer"], **takes(graphs["restorer"], image=images, mask=mask, label=LABELS)
        ).values()
    if task == "segment":
        np.testing.assert_allclose(restored, expected, atol=1e-5)
    else:
        assert restored.dtype == "uint8"
        assert np.abs(restored - 255 * expected).max() < 0.51


def test_a_graph_says_what_its_latents_are_like():
    decoder = by_name(member())["decoder"]
    assert decoder.meaning("z", "float32") == (
        f"latents; typical ones lie between {decoder.codes.min():.1f} and {decoder.codes.max():.1f}"
    )
    assert 1.5 < decoder.codes.max() < 4
    assert -4 < decoder.codes.min() < -1.5
    assert decoder.meaning("label", "int32") == "0 to 2"


def test_other_models_are_refused():
    with pytest.raises(keras_ae.InputError, match="a Sequential is not exported; give a VAE"):
        graphs_of(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="of the other backends")
def test_another_backend_says_where_exports_are_made(tmp_path):
    with pytest.raises(keras_ae.InputError, match=r"exports are made on TensorFlow, not on \w+"):
        keras_ae.export_model(member(), tmp_path / "exported")
