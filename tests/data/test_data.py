import importlib
import itertools

import keras
import numpy as np
import pytest

from keras_ae import conv_autoencoder, data, get_task
from keras_ae.data.catalog import VALIDATION_FRACTION
from keras_ae.data.shapes import CLASS_NAMES, FACTORS, draw
from tests.helpers import set_weights, small_vae


def load(name, tmp_path, **kwargs):
    return data.load(str(name), cache_dir=tmp_path / "cache", **kwargs)


def test_shapes_have_labels_masks_and_known_factors(tmp_path):
    shapes = load("shapes", tmp_path, limit=100)
    assert shapes.image_shape == (32, 32, 3)
    assert shapes.class_names == CLASS_NAMES
    assert len(shapes.train) + len(shapes.validation) == len(shapes.test) == 100
    arrays = shapes.train.arrays
    assert arrays["masks"].shape == (100, 32, 32, 1)
    assert arrays["factors"].shape == (100, len(FACTORS))
    # Outside the mask lies the ground, whose grey is the factor.
    image, mask, factors = arrays["images"][3], arrays["masks"][3, ..., 0], arrays["factors"][3]
    np.testing.assert_allclose(image[mask == 0] / 255, factors[5], atol=0.003)
    rows, columns = np.nonzero(mask > 127)
    circle = arrays["labels"][3] == 0
    assert np.hypot(columns.mean() - 15.5 - 32 * factors[0], rows.mean() - 15.5 - 32 * factors[1]) < (
        0.5 if circle else 3
    )


def test_a_circle_covers_its_area_and_rotation_turns_a_square():
    factors = np.array([[0, 0, 0.3, 0, 0, 0], [0, 0, 0.3, np.pi / 2, 0, 0]])
    _, masks = draw(np.array([0, 0]), factors, 64, 64)
    np.testing.assert_allclose(masks.sum((1, 2, 3)) / 255, np.pi * (0.85 * 0.3 * 64) ** 2, rtol=0.01)
    _, squares = draw(np.array([1, 1]), factors, 64, 64)
    np.testing.assert_allclose(squares[0].astype(int), squares[1], atol=1)


def test_shapes_are_deterministic_and_a_limit_is_a_prefix(tmp_path):
    small, large = load("shapes", tmp_path, limit=30), load("shapes", tmp_path, limit=40)
    np.testing.assert_array_equal(small.test.arrays["images"], large.test.arrays["images"][:30])
    assert not np.array_equal(small.test.arrays["images"][:30], small.train.arrays["images"][:30])


def test_shapes_draw_any_size(tmp_path):
    assert load("shapes", tmp_path, limit=10, image_size=(45, 61)).image_shape == (45, 61, 3)


def test_validation_is_a_part_of_train_and_the_splits_share_no_image(tmp_path):
    shapes = load("shapes", tmp_path, limit=1000)
    train, validation = set(shapes.train.indices), set(shapes.validation.indices)
    assert 0.6 * VALIDATION_FRACTION < len(validation) / 1000 < 1.4 * VALIDATION_FRACTION
    assert not train & validation
    assert train | validation == set(range(1000))
    # An image stays in its split when the limit changes.
    assert validation & set(range(300)) == set(load("shapes", tmp_path, limit=300).validation.indices)


def test_training_batches_depend_on_seed_and_epoch_alone(tmp_path):
    split = load("shapes", tmp_path, limit=50).train
    steps = data.steps_per_epoch(split, 16)
    assert steps == 3

    def epochs(**kwargs):
        stream = iter(data.training_batches(split, 16, endless=True, **kwargs))
        return [[np.array(next(stream)["image"]) for _ in range(steps)] for _ in range(3)]

    first = epochs(seed=4)
    np.testing.assert_array_equal(first, epochs(seed=4))
    np.testing.assert_array_equal(first[1:], epochs(seed=4, epoch=1)[:2])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, epochs(seed=5))
    seen = np.concatenate(first[0]).reshape(48, -1)
    assert len(np.unique(seen, axis=0)) == 48  # no image twice in an epoch


def test_flip_mirrors_about_half_of_the_images_anew_each_epoch(tmp_path):
    split = load("shapes", tmp_path, limit=200).train
    plain, flipped = (
        iter(data.training_batches(split, 190, seed=1, flip=flip, endless=True)) for flip in (False, True)
    )
    chosen = []
    for _ in range(2):
        image, mirrored = np.array(next(plain)["image"]), np.array(next(flipped)["image"])
        same = (image == mirrored).all((1, 2, 3))
        np.testing.assert_array_equal(mirrored[~same], image[~same][:, :, ::-1])
        assert 60 < same.sum() < 130
        chosen.append(same)
    assert not np.array_equal(*chosen)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="tf.data makes batches on the host")
def test_batches_made_where_the_model_is_are_those_of_numpy(tmp_path, monkeypatch):
    """A GPU's, too: here on a CPU, by the same code."""
    split = load("shapes", tmp_path, limit=100, image_size=(8, 8)).train
    backend = importlib.import_module(f"keras_ae.backends.{keras.backend.backend()}")

    def resident(images, labels, rows):
        return backend._resident(images[rows], labels[rows])

    makers = [lambda *_: None, resident] + [backend.on_device] * (keras.backend.backend() == "torch")
    for flip in (False, True):
        batches = []
        for maker in makers:
            with monkeypatch.context() as patch:
                patch.setattr("keras_ae.backends.on_device", maker)
                batches.append(data.training_batches(split, 16, seed=1, flip=flip, endless=True))
        numpy, *others = batches
        for other in others:
            for expected, batch in itertools.islice(zip(numpy, other, strict=True), 8):  # into the second epoch
                assert not isinstance(batch["image"], np.ndarray)
                for name in expected:
                    np.testing.assert_array_equal(np.array(batch[name]), expected[name])
    losses = []
    for each in batches:
        vae = small_vae(conditioning="none")
        vae.compile("adam")
        losses.append(vae.fit(each, steps_per_epoch=4, shuffle=False, verbose=0).history["loss"])
    assert all(loss == losses[0] for loss in losses)


def unconditional_vae():
    return small_vae(conditioning="none")


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras's default is not looked at
@pytest.mark.parametrize("model", [unconditional_vae, lambda: conv_autoencoder((8, 8, 3), 2, 4, width=4)])
def test_fit_ends_without_a_number_of_steps_and_sees_each_epochs_own_order(tmp_path, model):
    split = load("shapes", tmp_path, limit=100, image_size=(8, 8)).train
    task = None if model is unconditional_vae else get_task("reconstruct")
    weights = []
    for arguments in ({}, {"endless": True}):
        trained = model()
        set_weights(trained.weights)
        trained.compile("sgd", **({} if task is None else {"loss": "mse"}))
        batches = data.training_batches(split, 16, seed=3, task=task, **arguments)
        steps = {"steps_per_epoch": data.steps_per_epoch(split, 16), "shuffle": False} if arguments else {}
        trained.fit(batches, epochs=3, verbose=0, **steps)
        weights.append(trained.get_weights())
    for finite, endless in zip(*weights, strict=True):
        np.testing.assert_array_equal(finite, endless)


def test_evaluation_batches_are_all_images_in_order_more_than_once(tmp_path):
    split = load("shapes", tmp_path, limit=50).test
    batches = data.evaluation_batches(split, 16)
    for _ in range(2):
        images = np.concatenate([np.array(batch["image"]) for batch in batches])
        np.testing.assert_allclose(images, split.arrays["images"] / np.float32(255), atol=1e-7)
    label = np.array(next(iter(batches))["label"])
    np.testing.assert_array_equal(label, split.arrays["labels"][:16])


def test_a_batch_larger_than_the_data_is_the_data(tmp_path):
    split = load("shapes", tmp_path, limit=20).train
    assert data.steps_per_epoch(split, 64) == 1
    assert len(next(iter(data.training_batches(split, 64)))["label"]) == 19
