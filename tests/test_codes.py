"""Codes in a file are those of the model, and give its images again."""

import zipfile

import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, codes
from tests.helpers import small_vae

KINDS = {  # how the model is made, and the kinds of code that it has
    "conditional": (lambda shape: small_vae(shape, conditioning="both"), ["means", "samples"]),
    "tokens": (lambda shape: keras_ae.build_vae(shape, (2, 2), latent="fsq:5x5", width=4), ["tokens"]),
    "autoencoder": (lambda shape: keras_ae.conv_autoencoder(shape, 2, 3, width=4), ["means"]),
}
CASES = [(name, kind) for name, (_, kinds) in KINDS.items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_codes_are_the_models_and_give_its_images_again(dataset, tmp_path, monkeypatch, name, kind):
    model = KINDS[name][0](dataset.image_shape)
    split = dataset.train
    batch = split.batch(slice(None))
    labels = batch["label"] if name == "conditional" else None
    written = {}
    for size in (128, 7):  # one batch, and several of which the last is smaller
        monkeypatch.setattr(codes, "BATCH_SIZE", size)
        path = codes.encode(model, split, tmp_path / f"{size}.npz", kind=kind, class_names=["a", "b"], seed=3)
        written[size] = codes.open_codes(path)
    held = written[7]
    np.testing.assert_allclose(held.codes, written[128].codes, atol=1e-5)
    np.testing.assert_array_equal(held.labels, batch["label"])
    assert (held.kind, held.class_names, len(held)) == (kind, ["a", "b"], len(split))
    assert isinstance(held.codes, np.memmap)
    np.testing.assert_array_equal(np.load(tmp_path / "7.npz")["codes"], held.codes)
    images = np.concatenate(list(codes.decode(model, held)))
    if kind == "samples":
        mean, log_var = model.encode(batch["image"], labels)
        noise = (held.codes - mean) / np.exp(0.5 * log_var)
        expected = [np.random.default_rng([3, row]).standard_normal(mean.shape[1:], "float32") for row in (0, 9)]
        np.testing.assert_allclose(noise[[0, 9]], expected, atol=1e-3)
        np.testing.assert_allclose(images, model.decode(np.array(held.codes), labels), atol=1e-5)
        return
    if name == "autoencoder":
        expected = keras_ae.restore_images(model, batch["image"])
    else:
        expected = model.reconstruct(batch["image"], labels)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert held.codes.dtype == (np.int32 if kind == "tokens" else np.float32)


def test_the_code_of_a_mirrored_image_follows_the_images_own(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(codes, "BATCH_SIZE", 7)  # a pair of codes may lie in two batches
    vae = small_vae(dataset.image_shape, conditioning="both")
    batch = dataset.train.batch(slice(None))
    held = codes.open_codes(codes.encode(vae, dataset.train, tmp_path / "codes.npz", flip=True))
    np.testing.assert_allclose(held.codes[::2], vae.code(batch["image"], batch["label"]), atol=1e-5)
    np.testing.assert_allclose(held.codes[1::2], vae.code(batch["image"][:, :, ::-1], batch["label"]), atol=1e-5)
    np.testing.assert_array_equal(held.labels, np.repeat(batch["label"], 2))
    split = codes.as_dataset(held, dataset.image_shape)
    images = [set(part.indices // 2) for part in (split.train, split.validation)]
    assert images[0].isdisjoint(images[1])
    assert len(images[1]) == len(batch["image"]) // 20


def test_what_a_model_has_not_is_refused(dataset, tmp_path):
    def encode(model, split=dataset.train, **kwargs):
        codes.encode(model, split, tmp_path / "codes.npz", **kwargs)

    vae, tokens, autoencoder = (KINDS[name][0](dataset.image_shape) for name in KINDS)
    skips = keras_ae.conv_autoencoder(dataset.image_shape, 2, 3, skip_connections=True, width=4)
    for model, kwargs, message in (
        (vae, {"kind": "tokens"}, "this model has no tokens; take means or samples"),
        (tokens, {"kind": "samples"}, "this model has no samples; take tokens"),
        (autoencoder, {"kind": "samples"}, "an autoencoder has no samples; take means"),
        (vae, {"kind": "modes"}, "unknown kind of code 'modes'; known are means, samples, tokens"),
        (skips, {}, "is not all that its decoder is given"),
        (vae, {"split": dataset.train.__class__(dataset.train.arrays, np.arange(0))}, "there are no images to encode"),
    ):
        with pytest.raises(InputError, match=message):
            encode(model, **kwargs)
    assert not list(tmp_path.glob("*.npz"))
    encode(vae)
    other = small_vae(dataset.image_shape, conditioning="both")
    other.decoder.weights[0].assign(0 * other.decoder.weights[0])
    with pytest.raises(InputError, match="these codes are of another model"):
        next(codes.decode(other, codes.open_codes(tmp_path / "codes.npz")))


def test_a_file_that_holds_something_else_is_refused(dataset, tmp_path):
    vae = small_vae(dataset.image_shape, conditioning="none")
    whole = codes.encode(vae, dataset.train, tmp_path / "whole.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    for content in (b"", whole[: len(whole) // 2], whole[:-30]):
        damaged.write_bytes(content)
        with pytest.raises(InputError, match="holds no codes"):
            codes.open_codes(damaged)
    arrays = dict(np.load(tmp_path / "whole.npz"))
    about = arrays.pop("about.json")
    for change, message in (
        ({"codes": arrays["codes"].astype("float64")}, "holds float64"),
        ({"codes": np.array([{}, {}])}, "holds object|pickle"),
        ({"labels": arrays["labels"][1:]}, "is damaged"),
        ({"codes": np.asfortranarray(arrays["codes"])}, "holds float32"),
        ({}, "compressed"),
    ):
        np.savez(damaged, **arrays | change) if change else np.savez_compressed(damaged, **arrays)
        with zipfile.ZipFile(damaged, "a") as archive:
            archive.writestr("about.json", about)
        with pytest.raises(InputError, match=message):
            codes.open_codes(damaged)
