import numpy as np
import pytest

import keras_ae
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
        (lambda vae: vae.sample(1, temperature=-1), "not 0 or more"),
        (lambda vae: vae.decode(np.zeros((2, 5)), 0), r"takes \(n, 4\)"),
        (lambda vae: vae.decode(np.zeros((2, 4))), "give labels"),
        (lambda vae: vae.encode(np.zeros((2, 9, 8, 3))), r"takes \(n, 8, 8, 3\)"),
        (lambda vae: vae.interpolate(batch()["image"], batch()["image"], 1, 0), "2 or more"),
    ],
)
def test_wrong_input_is_named(vae, call, message):
    with pytest.raises(InputError, match=message):
        call(vae)


def test_a_temperature_of_0_draws_the_image_at_the_middle(vae):
    assert vae.sample(1).shape == (1, 8, 8, 3)
    middle = vae.decode(np.zeros((2, 4)), "c")
    np.testing.assert_allclose(vae.sample(2, labels="c", temperature=0), middle, atol=1e-6)


def test_images_are_cut_to_the_range(vae):
    images = vae.decode(np.random.default_rng(0).normal(0, 100, (20, 4)), 0)
    assert (images.min(), images.max()) == (0, 1)


@pytest.mark.parametrize("shape", [(4,), (2, 4, 1), (1, 2, 4), (4, 2)])
def test_latents_of_another_shape_are_refused(vae, shape):
    with pytest.raises(InputError, match=r"this model takes \(n, 4\)"):
        vae.decode(np.zeros(shape), 0)


def test_the_encoder_of_a_model_that_conditions_both_needs_labels():
    vae, data = small_vae(conditioning="both"), batch()
    with pytest.raises(InputError, match="give labels"):
        vae.encode(data["image"])
    z_mean, z_log_var = vae.encode(data["image"], data["label"])
    expected = vae.encoder.predict([data["image"], data["label"]], verbose=0)
    np.testing.assert_allclose(z_mean, expected[0], atol=1e-6)
    np.testing.assert_allclose(z_log_var, expected[1], atol=1e-6)


def test_interpolations_are_straight_lines(vae):
    start, end = batch()["image"][:1], batch()["image"][1:2]
    assert vae.interpolate(start, end, labels=0).shape == (1, 8, 8, 8, 3)
    assert vae.interpolate(start, end, 2, labels=0).shape == (1, 2, 8, 8, 3)
    first, last = vae.encode(start)[0], vae.encode(end)[0]
    line = vae.interpolate(start, end, 5, labels=0)[0]
    for step in range(5):
        z = first + (last - first) * step / 4
        np.testing.assert_allclose(line[step], vae.decode(z, 0)[0], atol=1e-6)


def test_a_traversal_moves_the_first_image_to_both_sides():
    vae, data = small_vae(latent_dim=10), batch()
    labels = [2, 0, 1, 0, 1, 0]
    latents, rows = vae.traverse(data["image"], labels=labels)
    assert rows.shape == (8, 9, 8, 8, 3)
    z = vae.encode(data["image"])[0][0]
    for row, latent in enumerate(latents):
        for step, place in ((0, -2.5), (4, 0.0), (8, 2.5)):
            moved = z.copy()
            moved[latent] = place
            np.testing.assert_allclose(rows[row, step], vae.decode(moved[None], 2)[0], atol=1e-5)


def test_a_traversal_under_another_prior_spans_that_prior():
    vae = keras_ae.build_vae((8, 8, 1), 2, prior="mixture:1", network="mlp", width=4)
    vae.prior.means.assign([[3.0, -2.0]])
    vae.prior.log_vars.assign([[2 * np.log(0.5)] * 2])
    latents, rows = vae.traverse(np.zeros((3, 8, 8, 1)), count=2, steps=3, span=1.0)
    z = np.tile(vae.encode(np.zeros((1, 8, 8, 1)))[0], (3, 1))
    z[:, latents[0]] = np.array([3, -2])[latents[0]] + 0.5 * np.array([-1, 0, 1])
    np.testing.assert_allclose(rows[0], vae.decode(z), atol=0.02)


def test_an_image_counts_once_for_each_draw_and_each_image_of_the_prior():
    counts = {"standard": 1, "mixture:3": 1, "vamp:3": 4}
    for prior, count in counts.items():
        assert keras_ae.build_vae((8, 8, 1), 2, prior=prior, width=4).images_at_once == count
    assert keras_ae.build_vae((8, 8, 1), 2, objective="iwae:5", width=4).images_at_once == 5


def test_models_without_labels_take_none():
    vae = small_vae(conditioning="none")
    assert vae.sample(3, seed=0).shape == (3, 8, 8, 3)
    assert vae.label_ids(None, 3) is None


def test_nothing_is_printed(vae, capsys):
    vae.reconstruct(batch()["image"], 0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "settings",
    [
        {"latent": "fsq:5x5", "latent_dim": (2, 2)},
        {"latent": "deterministic", "latent_dim": 4},
        {"latent_dim": (2, 2, 3), "beta": 0.002},
        {"latent_dim": 2, "beta": 0.0, "prior": "mixture:2"},
    ],
)
def test_samples_of_a_prior_that_was_not_fitted_warn(settings, tmp_path):
    vae = keras_ae.build_vae((8, 8, 3), width=4, **settings)
    with pytest.warns(UserWarning, match="and samples noise: fit a prior to them"):
        vae.sample(2)
    draw = keras_ae.pictures.vae_pictures(batch())
    assert list(draw(vae, "epoch 1")) == ["reconstructions"]


@pytest.mark.filterwarnings("error:the codes of this model")
def test_samples_of_a_prior_that_fits_do_not_warn():
    for settings in ({}, {"objective": "iwae:2"}, {"beta": 0.05, "prior": "mixture:2"}, {"beta": 0.05}):
        keras_ae.build_vae((8, 8, 3), 2, width=4, **settings).sample(2)
    model = keras_ae.build_vae((8, 8, 3), (2, 2), latent="fsq:5x5", width=4)
    keras_ae.with_prior(model, keras_ae.priors.Autoregressive(width=32, blocks=1)).sample(2)
