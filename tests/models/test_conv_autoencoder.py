import math

import keras
import numpy as np
import pytest

from keras_ae import InputError, conv_autoencoder, load_model, restore_images, save_model
from keras_ae.layers import FillMissing
from keras_ae.networks.conv import of_block
from keras_ae.tasks import TASKS
from tests.helpers import batch


def inputs_of(model, n=2, shape=(8, 8, 3)) -> dict:
    names = {tensor.name for tensor in model.inputs}
    mask = np.ones((n, *shape[:2], 1), "float32")
    mask[:, 1:3, 1:4] = 0
    return {name: value for name, value in {**batch(n, shape), "mask": mask}.items() if name in names}


SHAPES = [
    ((32, 32, 3), 2, {}),
    ((32, 32, 3), 1, {"skip_connections": True}),
    ((28, 28, 1), 3, {"skip_connections": True}),
    ((45, 61, 3), 2, {"blocks": 1}),
    ((45, 61, 3), 5, {"skip_connections": True, "blocks": 2}),
    ((9, 5, 3), 5, {"skip_connections": True}),
    ((1, 1, 1), 1, {}),
]


@pytest.mark.parametrize(("shape", "code_size", "kwargs"), SHAPES)
def test_any_image_and_any_code_size(shape, code_size, kwargs):
    model = conv_autoencoder(shape, code_size, 7, width=4, **kwargs)
    assert isinstance(model, keras.models.Functional if hasattr(keras.models, "Functional") else keras.Model)
    code = model.get_layer("encoder").outputs[0]
    assert code.shape == (None, code_size, code_size, 7)
    assert model.get_layer("decoder").inputs[0].shape == code.shape
    assert model.predict(inputs_of(model, shape=shape), verbose=0).shape == (2, *shape)


@pytest.mark.parametrize(
    ("shape", "code_size", "channels"), [((96, 96, 3), 2, 40), ((32, 32, 3), 1, 100), ((45, 61, 3), 2, 9)]
)
def test_every_level_has_features_to_spare_for_the_code(shape, code_size, channels):
    values = code_size**2 * channels
    for sub_model in ("encoder", "decoder"):
        model = conv_autoencoder(shape, code_size, channels, width=4).get_layer(sub_model)
        found = [math.prod(layer.output.shape[1:]) for layer in model.layers]
        found.remove(values)  # the code
        assert min(found) >= 3 * values


COUNTS = [
    ((32, 32, 3), 2, 40, {}, 30_315),
    ((96, 96, 3), 2, 40, {}, 37_803),
    ((45, 61, 3), 2, 9, {"blocks": 1}, 44_684),
    ((28, 28, 1), 3, 7, {"skip_connections": True}, 39_768),
    ((16, 16, 3), 2, 20, {}, 12_375),
    ((16, 16, 3), 2, 30, {}, 16_961),
    ((16, 24, 3), 2, 32, {}, 15_971),
    ((16, 16, 3), 4, 8, {}, 2_603),
    ((16, 16, 3), 8, 2, {}, 1_637),
    ((12, 20, 3), 3, 6, {}, 10_377),
    ((1, 1, 3), 1, 4, {"skip_connections": True}, 531),
    ((4, 4, 3), 2, 6, {"skip_connections": True, "blocks": 1}, 23_225),
    ((4, 4, 3), 4, 2, {}, 491),
    ((8, 8, 3), 2, 6, {"task": "complete", "skip_connections": True}, 26_937),
    ((9, 5, 2), 1, 6, {"task": "segment", "mask_classes": 4}, 18_410),
    ((8, 8, 3), 2, 6, {"mask_classes": 1}, 2_345),
]


@pytest.mark.parametrize(("shape", "code_size", "channels", "kwargs", "count"), COUNTS)
def test_files_saved_before_fit_into_the_network(shape, code_size, channels, kwargs, count):
    assert conv_autoencoder(shape, code_size, channels, width=4, **kwargs).count_params() == count


def test_settings_that_nobody_gave():
    standard, named = conv_autoencoder((32, 32, 3)), conv_autoencoder((32, 32, 3), 2, 128, width=32, blocks=0)
    assert standard.get_layer("encoder").output_shape == (None, 2, 2, 128)
    assert standard.count_params() == named.count_params()
    assert conv_autoencoder((8, 8, 3), 2, 6, width=4, task="segment").output_shape == (None, 8, 8, 2)


def test_blocks_are_named_by_their_level():
    model = conv_autoencoder((16, 16, 3), 4, 2, width=4, skip_connections=True, blocks=1)
    blocks = [
        [layer.name for layer in model.get_layer(name).layers if layer.name.endswith("_in")]
        for name in ("encoder", "decoder")
    ]
    assert blocks == [["block_1_0_in", "block_2_0_in"], ["block_1_0_in", "block_0_0_in"]]


@pytest.mark.parametrize(
    ("task", "skip_connections", "bias"),
    [
        ("reconstruct", False, 0.5),
        ("reconstruct", True, 0.5),
        ("denoise", False, 0.5),
        ("denoise", True, 0.0),
        ("complete", False, 0.5),
        ("complete", True, 0.0),
        ("segment", False, 0.0),
    ],
)
def test_the_output_starts_at_grey_or_at_the_input(task, skip_connections, bias):
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4, task=task, skip_connections=skip_connections)
    np.testing.assert_array_equal(model.get_layer("decoder").get_layer("output").get_weights()[1], bias)
    corrects = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert bool(corrects) == (bias == 0 and task != "segment")
    fillings = [layer.iterations for layer in model.layers if isinstance(layer, FillMissing)]
    assert fillings == ([4] if task == "complete" else [])


def test_each_place_of_the_code_sees_its_part_of_the_image(random):
    encoder = conv_autoencoder((48, 48, 3), 2, 20, width=4).get_layer("encoder")
    image = np.repeat(random.random((1, 48, 48, 3), "float32"), 2, axis=0)
    image[1, 14, 14] += 0.5  # in the first quarter, 10 pixels from the others
    changed = np.ptp(encoder.predict(image, verbose=0), axis=0).max(axis=-1) > 0
    np.testing.assert_array_equal(changed, [[True, False], [False, False]])


@pytest.mark.parametrize(
    ("task", "skip_connections"),
    [("reconstruct", False), ("denoise", True), ("complete", True), ("segment", False)],
)
def test_every_task_fits_saves_and_loads(task, skip_connections, tmp_path):
    model = conv_autoencoder(
        (8, 8, 3), 2, 6, width=4, task=task, skip_connections=skip_connections, num_classes=3, conditioning="both"
    )
    inputs = inputs_of(model, 4)
    made = TASKS[task]()
    target = np.eye(2, dtype="float32")[batch(4)["label"][:, None, None] * np.ones((1, 8, 8), int) % 2]
    model.compile("adam", **made.measures(model))
    target = target if task == "segment" else batch(4)["image"]
    history = model.fit(inputs, target, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0), atol=1e-5)


def test_labels_reach_the_decoder_or_both():
    image = batch(1)["image"].repeat(3, 0)
    for conditioning, of_code in (("none", False), ("decoder", False), ("both", True)):
        model = conv_autoencoder((8, 8, 3), 2, 6, width=4, num_classes=3, conditioning=conditioning)
        encoder = model.get_layer("encoder")
        labels = {"label": np.arange(3)} if conditioning != "none" else {}
        given = {"image": image, **labels}
        code = encoder.predict({name.name: given[name.name] for name in encoder.inputs}, verbose=0)
        output = model.predict(given, verbose=0)
        assert (np.ptp(code, axis=0) > 1e-6).any() == of_code
        assert (np.ptp(output, axis=0) > 1e-6).any() == (conditioning != "none")


def test_the_decoder_works_alone():
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4)
    image = batch(2)["image"]
    code = model.get_layer("encoder").predict(image, verbose=0)
    alone = model.get_layer("decoder").predict(code, verbose=0)
    np.testing.assert_allclose(alone, model.predict(image, verbose=0), atol=1e-6)


def test_completion_returns_known_pixels_unchanged():
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4, task="complete")
    images, mask = batch(3)["image"], inputs_of(model, 3)["mask"]
    found = restore_images(model, images, mask=mask)
    known = np.broadcast_to(mask > 0, images.shape)
    np.testing.assert_array_equal(found[known], images[known])
    assert (found[~known] != images[~known]).all()
    hidden = np.where(known, images, np.nan)  # what lies under the mask is not looked at
    np.testing.assert_array_equal(restore_images(model, hidden, mask=mask[..., 0]), found)


@pytest.mark.parametrize("task", ["complete", "segment"])
def test_mirrored_restorations_do_not_depend_on_the_side(task):
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4, task=task, num_classes=3, conditioning="decoder")
    given = {"labels": np.array([0, 1, 2])}
    images = batch(3)["image"]
    if task == "complete":
        given["mask"] = inputs_of(model, 3)["mask"]
    once = restore_images(model, images, **given)
    mean = restore_images(model, images, **given, mirrored=True)
    if task == "complete":
        known = np.broadcast_to(given["mask"] > 0, images.shape)
        np.testing.assert_array_equal(mean[known], images[known])
        given["mask"] = given["mask"][:, :, ::-1]
    other = restore_images(model, images[:, :, ::-1], **given)[:, :, ::-1]
    np.testing.assert_allclose(mean, (once + other) / 2, atol=1e-6)
    assert np.abs(once - other).max() > 1e-3
    found = restore_images(model, images[:, :, ::-1], **given, mirrored=True)[:, :, ::-1]
    np.testing.assert_allclose(found, mean, atol=1e-6)


def test_blocks_start_as_the_identity():
    plain = conv_autoencoder((8, 8, 3), 2, 6, width=4, skip_connections=True)
    deep = conv_autoencoder((8, 8, 3), 2, 6, width=4, skip_connections=True, blocks=2)
    blocks = list(filter(of_block, deep.weights))
    assert len(deep.weights) - len(plain.weights) == len(blocks) == 2 * 4 * (2 + 2)  # 2 of 4 at each level
    others = [weight for weight in deep.weights if not of_block(weight)]
    for weight, value in zip(others, plain.get_weights(), strict=True):
        weight.assign(value)
    images = batch(2)["image"]
    np.testing.assert_allclose(deep.predict(images, verbose=0), plain.predict(images, verbose=0), atol=1e-6)


def test_a_denoiser_with_skip_connections_starts_at_its_input():
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4, task="denoise", skip_connections=True)
    last = model.get_layer("decoder").get_layer("output")
    last.set_weights([0 * weight for weight in last.get_weights()])
    images = batch(2)["image"]
    np.testing.assert_array_equal(restore_images(model, images), images)


def test_segmentation_gives_probabilities():
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4, task="segment", mask_classes=4)
    found = restore_images(model, batch(2)["image"])
    assert found.shape == (2, 8, 8, 4)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(("bias", "value"), [(-2.0, 0.0), (3.0, 1.0)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_restorations_are_cut_to_the_range_and_nothing_is_printed(bias, value, mirrored, capsys):
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4)
    last = model.get_layer("decoder").get_layer("output")
    kernel, _ = last.get_weights()
    last.set_weights([0 * kernel, np.full(3, bias)])
    np.testing.assert_array_equal(restore_images(model, batch(2)["image"], mirrored=mirrored), value)
    assert capsys.readouterr() == ("", "")


def test_a_mask_or_labels_for_a_model_without_are_refused():
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4)
    with pytest.raises(InputError, match="this model takes no mask"):
        restore_images(model, batch(2)["image"], mask=np.ones((2, 8, 8)))
    with pytest.raises(InputError, match="takes no labels"):
        restore_images(model, batch(2)["image"], labels=[0, 1])


BUILDING = [
    ({"code_size": 9}, "larger than the image of 8x8; give 1 to 8"),
    ({"image_shape": (9, 6, 1), "code_size": 7}, "larger than the image of 9x6; give 1 to 6"),
    ({"image_shape": (6, 9, 1), "code_size": 7}, "larger than the image of 6x9; give 1 to 6"),
    ({"task": "segment", "mask_classes": 1}, "needs 2 mask_classes or more"),
    ({"code_size": 0}, "must be 1 or more"),
    ({"blocks": -1}, "blocks -1 0 or more"),
    ({"task": "sharpen"}, "known are reconstruct, denoise, complete, segment"),
    ({"conditioning": "all"}, "known are none, decoder, both"),
    ({"conditioning": "decoder"}, "needs classes"),
]


@pytest.mark.parametrize(("arguments", "message"), BUILDING)
def test_a_model_that_cannot_be_says_why(arguments, message):
    with pytest.raises(InputError, match=message):
        conv_autoencoder(**{"image_shape": (8, 8, 3), **arguments})


USING = [
    ({"mask": None}, "takes a mask"),
    ({"labels": None}, "give labels, of 0 to 2"),
    ({"images": np.zeros((2, 8, 9, 3))}, r"takes \(n, 8, 8, 3\)"),
    ({"mask": np.ones((2, 7, 8))}, r"take \(2, 8, 8, 1\)"),
    ({"mask": np.zeros((2, 8, 8))}, "all pixels of image 0 are missing"),
    ({"labels": [0, 3]}, "unknown label '3'; known are 0 to 2"),
    ({"labels": [0, 1, 2]}, "3 labels for 2 images"),
]


@pytest.fixture(scope="module")
def conditional_completer():
    return conv_autoencoder((8, 8, 3), 2, 6, width=4, task="complete", num_classes=3, conditioning="decoder")


@pytest.mark.parametrize(("arguments", "message"), USING)
def test_bad_arrays_say_what_is_accepted(conditional_completer, arguments, message):
    given = {"images": batch(2)["image"], "mask": np.ones((2, 8, 8)), "labels": [0, 1], **arguments}
    with pytest.raises(InputError, match=message):
        restore_images(conditional_completer, given.pop("images"), **given)
