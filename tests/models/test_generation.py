import numpy as np
import pytest

from keras_ae import InputError
from tests.helpers import batch, small_vae


@pytest.fixture(scope="module")
def vae():
    return small_vae()


def test_one_seed_gives_the_same_samples_and_another_gives_others(vae):
    np.testing.assert_array_equal(vae.sample(5, seed=1), vae.sample(5, seed=1))
    assert np.abs(vae.sample(5, seed=1) - vae.sample(5, seed=2)).max() > 1e-3
    images = vae.sample(4, seed=1)
    assert images.shape == (4, 8, 8, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1


def test_samples_are_the_decoder_at_numpys_noise(vae):
    z = np.random.default_rng(7).standard_normal((6, 4), dtype="float32")
    np.testing.assert_allclose(vae.sample(6, labels="b", seed=7), vae.decode(z, 1), atol=1e-6)
    np.testing.assert_allclose(vae.sample(6, temperature=0.5, seed=7), vae.decode(z / 2, [0, 1, 2] * 2), atol=1e-6)


def test_labels_change_the_images(vae):
    z = np.zeros((1, 4))
    assert np.abs(vae.decode(z, "a") - vae.decode(z, "c")).max() > 1e-3


def test_reconstruct_is_decode_of_the_posterior_mean(vae):
    data = batch()
    z_mean, z_log_var = vae.encode(data["image"])
    assert z_mean.shape == z_log_var.shape == (6, 4)
    np.testing.assert_allclose(
        vae.reconstruct(data["image"], data["label"]), vae.decode(z_mean, data["label"]), atol=1e-6
    )


def test_interpolations_start_and_end_at_the_reconstructions(vae):
    data = batch()
    start, end, labels = data["image"][:2], data["image"][2:4], data["label"][:2]
    lines = vae.interpolate(start, end, 5, labels)
    assert lines.shape == (2, 5, 8, 8, 3)
    np.testing.assert_allclose(lines[:, 0], vae.reconstruct(start, labels), atol=1e-6)
    np.testing.assert_allclose(lines[:, -1], vae.reconstruct(end, labels), atol=1e-6)


def test_traversals_move_one_latent_and_rank_them_by_kl(vae):
    data = batch()
    latents, rows = vae.traverse(data["image"], count=3, steps=5, span=1.0, labels=data["label"])
    assert rows.shape == (3, 5, 8, 8, 3)
    z_mean, z_log_var = vae.encode(data["image"])
    kl = (np.exp(z_log_var) + z_mean**2 - 1 - z_log_var).mean(0)
    np.testing.assert_array_equal(latents, np.argsort(-kl)[:3])
    moved = z_mean[0].copy()
    moved[latents[1]] = -1.0
    np.testing.assert_allclose(rows[1, 0], vae.decode(moved[None], data["label"][0])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae: vae.sample(2, labels="zebra"), "unknown label 'zebra'; known are a, b, c"),
        (lambda vae: vae.sample(2, labels=3), "unknown label '3'"),
        (lambda vae: vae.sample(3, labels=[0, 1]), "2 labels for 3 images"),
        (lambda vae: vae.sample(0), "cannot draw 0"),
        (lambda vae: vae.sample(1, temperature=-1), "below 0"),
        (lambda vae: vae.decode(np.zeros((2, 5)), 0), r"takes \(n, 4\)"),
        (lambda vae: vae.decode(np.zeros((2, 4))), "give labels"),
        (lambda vae: vae.encode(np.zeros((2, 9, 8, 3))), r"takes \(n, 8, 8, 3\)"),
        (lambda vae: vae.interpolate(batch()["image"], batch()["image"], 1, 0), "2 or more"),
    ],
)
def test_wrong_input_is_named(vae, call, message):
    with pytest.raises(InputError, match=message):
        call(vae)
