import keras
import numpy as np
import pytest
from PIL import Image

from keras_ae import InputError, conv_autoencoder, data, get_task
from keras_ae.data.batches import EvaluationBatches
from keras_ae.data.corruption import corrupt, parse_corruptions
from keras_ae.tasks import TASKS
from tests.helpers import folder_with_masks


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return data.load("shapes", cache_dir=tmp_path_factory.mktemp("cache"), limit=60, image_size=(8, 8))


def test_batches_of_a_task(shapes):
    clean = shapes.test.batch(slice(0, 5))["image"]
    for name, names in (("reconstruct", {"image"}), ("denoise", {"image"}), ("complete", {"image", "mask"})):
        inputs, target, *weights = EvaluationBatches(shapes.test, 5, get_task(name))[0]
        assert inputs.keys() == names
        np.testing.assert_array_equal(target, clean)
        if name == "complete":
            np.testing.assert_array_equal(inputs["image"], clean * inputs["mask"])
            np.testing.assert_array_equal(weights[0], 1 - inputs["mask"][..., 0])
        else:
            assert not weights
            assert (inputs["image"] == clean).all() == (name == "reconstruct")


def test_training_batches_corrupt_anew_each_epoch_and_alike_for_a_seed(shapes):
    task = get_task("denoise")
    places = shapes.train.indices[:4]
    batch = shapes.train.batch(slice(0, 4))
    first, again, later = (task.examples(batch, places, seed=1, epoch=epoch)[0]["image"] for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != later).any(axis=(1, 2, 3)).all()


def test_fit_with_a_task_measures_the_missing_pixels(shapes):
    task = get_task("complete", "centre:4")
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4, task="complete")
    model.compile("adam", **task.measures(model))
    steps = data.steps_per_epoch(shapes.train, 16)
    model.fit(data.training_batches(shapes.train, 16, task=task), steps_per_epoch=steps, shuffle=False, verbose=0)
    results = model.evaluate(data.evaluation_batches(shapes.test, 16, task=task), return_dict=True, verbose=0)
    inputs, target, weights = task.examples(shapes.test.batch(slice(None)), shapes.test.indices)
    error = np.square(model.predict(inputs, verbose=0) - target)
    per_image = np.array([e[w > 0].mean() for e, w in zip(error, weights, strict=True)])
    assert results["mse"] == pytest.approx(per_image.mean(), rel=1e-4)
    assert results["psnr"] == pytest.approx(np.mean(-10 * np.log10(per_image)), rel=1e-4)
    assert results["loss"] == pytest.approx(per_image.mean(), rel=1e-4)


def test_segmentation_finds_the_masks_of_shapes(shapes):
    task = get_task("segment")
    task.check(shapes)
    inputs, target = task.examples(shapes.test.batch(slice(None), masks=True), shapes.test.indices)
    covered = shapes.test.arrays["masks"][:, :, :, 0] > 127.5
    np.testing.assert_array_equal(target.argmax(-1) == 1, covered)
    model = conv_autoencoder((8, 8, 3), 2, 6, width=4, task="segment", skip_connections=True)
    model.compile(keras.optimizers.Adam(0.01), **task.measures(model))
    batches = data.training_batches(shapes.train, 16, flip=True, task=task, endless=True)
    model.fit(batches, steps_per_epoch=60, shuffle=False, verbose=0)
    results = model.evaluate(data.evaluation_batches(shapes.test, 16, task=task), return_dict=True, verbose=0)
    found = model.predict(inputs, verbose=0).argmax(-1)
    expected = np.mean([((found == k) & (covered == k)).sum() / ((found == k) | (covered == k)).sum() for k in (0, 1)])
    assert results["mean_iou"] == pytest.approx(expected, rel=1e-4)
    assert expected > 0.7


def test_a_folder_with_masks_beside_the_images(tmp_path):
    folder = folder_with_masks(tmp_path / "own", (3, 7))
    dataset = data.load(str(folder), cache_dir=tmp_path / "cache")
    assert dataset.mask_classes == 2
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 6
    batch = dataset.train.batch(slice(None), masks=True)
    np.testing.assert_array_equal(batch["segmentation"][..., 1] == 1, batch["image"][..., 0] > 5 / 255)
    np.testing.assert_array_equal(batch["segmentation"].sum(-1), 1)

    Image.new("L", (4, 4)).save(folder / "0_mask.png")
    with pytest.raises(InputError, match=r"0_mask.png is 4x4 and its image 9x9"):
        data.load(str(folder), cache_dir=tmp_path / "cache")
    (folder / "0_mask.png").write_text("text")
    with pytest.raises(InputError, match=r"0_mask.png cannot be read"):
        data.load(str(folder), cache_dir=tmp_path / "cache")
    (folder / "0_mask.png").unlink()
    with pytest.warns(UserWarning, match=r"0.png \(no mask beside it\)"):
        assert data.load(str(folder), cache_dir=tmp_path / "cache").mask_classes == 2
    Image.fromarray(np.arange(81, dtype="uint8").reshape(9, 9)).save(folder / "0_mask.png")
    with pytest.raises(InputError, match="are possible"):
        data.load(str(folder), cache_dir=tmp_path / "cache")


def test_mistakes_say_what_is_accepted(shapes):
    mistakes = [
        (("sharpen",), "known are reconstruct, denoise, complete, segment"),
        (("denoise", "half"), "is for noise, not for 'half'"),
        (("complete", "gaussian:0.1"), "is for missing pixels"),
        (("reconstruct", "half"), "takes no corruption"),
    ]
    for arguments, message in mistakes:
        with pytest.raises(InputError, match=message):
            get_task(*arguments)
    with pytest.raises(InputError, match="stay below 8"):
        get_task("complete", "centre:8").check(shapes)
    with pytest.raises(InputError, match="noisy already have no originals"):
        get_task("denoise", "none").check(shapes)
    with pytest.raises(InputError, match="minimises the cross-entropy"):
        get_task("segment").measures(None, "mae")
    bare = data.Dataset("bare", [], *[data.Split({"images": np.zeros((2, 8, 8, 3))}, np.arange(2))] * 3)
    with pytest.raises(InputError, match="bare has no masks"):
        get_task("segment").check(bare)


def test_evaluation_corrupts_by_a_seed_of_its_own(shapes):
    places = slice(3, 7)
    clean = shapes.test.batch(places)["image"]
    for name, text in (("denoise", "gaussian:0.1"), ("complete", "block:0.25,pixels:0.5")):
        task = get_task(name, text)
        expected, known = corrupt(clean, parse_corruptions(text), shapes.test.indices[places], seed=2026, epoch=0)
        inputs, target, *weights = task.take(shapes.test, places)
        np.testing.assert_array_equal(inputs["image"], expected)
        np.testing.assert_array_equal(target, clean)
        if name == "complete":
            np.testing.assert_array_equal(inputs["mask"], known)
            np.testing.assert_array_equal(weights, 1 - known[None, ..., 0])


def test_labels_go_in_with_the_image(shapes):
    for label in (False, True):
        inputs, _ = get_task("denoise", label=label).take(shapes.test, slice(0, 4))
        assert ("label" in inputs) == label
    np.testing.assert_array_equal(inputs["label"], shapes.test.batch(slice(0, 4))["label"])


def test_images_that_are_noisy_already_stay_as_they_are(shapes):
    task = get_task("denoise", "none")
    inputs, target = task.take(shapes.test, slice(0, 2))
    np.testing.assert_array_equal(inputs["image"], target)
    assert task.rows(inputs, target, target).keys() == {"noisy", "denoised"}
    assert get_task("denoise").rows(inputs, target, target).keys() == {"original", "noisy", "denoised"}


def test_what_is_not_black_in_a_mask_is_missing():
    task = get_task("complete", "masks")
    assert task.masks
    image, mask = np.full((1, 2, 2, 3), 0.5, "float32"), np.float32([0, 1, 0.2, 0]).reshape(1, 2, 2, 1)
    inputs, target, weights = task.examples({"image": image, "mask": mask}, np.arange(1))
    np.testing.assert_array_equal(inputs["mask"].ravel(), [1, 0, 0, 1])
    np.testing.assert_array_equal(inputs["image"][..., 0].ravel(), [0.5, 0, 0, 0.5])
    np.testing.assert_array_equal(weights.ravel(), [0, 1, 1, 0])
    np.testing.assert_array_equal(target, image)
    masked = task.rows(inputs, target, target)["masked"]
    np.testing.assert_array_equal(np.isnan(masked[..., 0]).ravel(), [False, True, True, False])
    with pytest.raises(InputError, match="has no black"):
        task.examples({"image": image.repeat(2, 0), "mask": np.stack([mask[0], mask[0] * 0 + 1])}, np.arange(2))


def test_classes_are_shown_as_evenly_spaced_greys():
    classes = np.eye(3, dtype="float32")[[[[0, 1, 2]]]]
    rows = get_task("segment").rows({"image": classes}, classes, classes[:, :, ::-1])
    np.testing.assert_array_equal(rows["mask"].ravel(), [0, 0.5, 1])
    np.testing.assert_array_equal(rows["found"].ravel(), [1, 0.5, 0])
    assert rows["mask"].shape == (1, 1, 3, 1)


TRAITS = ("default_corruption", "word", "hides", "masks", "takes_mask", "corrects", "classifies")


@pytest.mark.parametrize(
    ("name", "traits"),
    [
        ("reconstruct", (None, None, False, False, False, False, False)),
        ("denoise", ("gaussian:25/255", "none", False, False, False, True, False)),
        ("complete", ("block:0.25,pixels:0.5", "masks", True, False, True, True, False)),
        ("segment", (None, None, False, True, False, False, True)),
    ],
)
def test_what_tasks_say_of_themselves(name, traits):
    assert tuple(getattr(TASKS[name], trait) for trait in TRAITS) == traits
    task = get_task(name)
    assert (task.corruption, task.masks, task.label) == (traits[0], traits[3], False)


def test_masks_of_one_class_teach_nothing(shapes):
    bare = data.Dataset("bare", [], *[data.Split({"images": np.zeros((2, 8, 8, 3))}, np.arange(2))] * 3)
    with pytest.raises(InputError, match="bare has no masks; give another corruption"):
        get_task("complete", "masks").check(bare)
    get_task("complete", "masks").check(shapes)
    get_task("complete", "centre:4").check(bare)
    get_task("segment").check(shapes)

    class OneClass:
        name, mask_classes = "plain", 1

    with pytest.raises(InputError, match="plain has masks of one class"):
        get_task("segment").check(OneClass())
