"""Priors have the density that they draw from."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ae import InputError
from keras_ae.priors import FlowPrior, get_prior
from tests.helpers import set_weights

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor


def encode(images):
    """Means and log-variances of pseudo-images (n, 1, 2, 1)."""
    flat = keras.ops.reshape(images, (-1, 2))
    return 4 * flat - 2, flat - 1.5


def prior(name, shape=(2,)):
    made = get_prior(name)
    made.build((None, *shape), (None, 1, 2, 1))
    set_weights(made.weights)
    for weight in made.weights if name == "mixture:3" else ():
        weight.assign(weight + 1.5 * np.sin(np.arange(np.prod(weight.shape)).reshape(weight.shape)))
    return made


@pytest.mark.parametrize("name", ["standard", "mixture:3", "vamp:3", "flow:3"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_have_the_density(name, temperature):
    made = prior(name)
    axis = np.linspace(-14, 14, 701)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2).astype("float32")
    density = np.exp(to_numpy(made.log_prob(tensor(grid), encode)).astype("float64")).reshape(len(axis), -1)
    density *= (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(density.sum(), 1, atol=0.01)
    if temperature != 1 and name != "standard":
        drawn = made.sample(20_000, np.random.default_rng(0), temperature, encode)
        assert drawn.std(0).sum() < made.sample(20_000, np.random.default_rng(0), encode=encode).std(0).sum()
        return
    drawn = made.sample(20_000, np.random.default_rng(0), temperature, encode)
    assert drawn.dtype == np.float32
    for latent in range(2):
        cumulative = np.cumsum(density.sum(1 - latent))
        edges = temperature * (axis + (axis[1] - axis[0]) / 2)
        result = stats.kstest(drawn[:, latent], lambda z, e=edges, c=cumulative: np.interp(z, e, c))
        assert result.statistic < 0.015, (name, latent)
    histogram, _, _ = np.histogram2d(*drawn.T, bins=14, range=[[-7, 7]] * 2)
    if temperature == 1:
        cells = density[175:525, 175:525].reshape(14, 25, 14, 25).sum((1, 3))
        np.testing.assert_allclose(histogram / len(drawn), cells, atol=0.015)


def test_a_mixture_is_scipys():
    made = prior("mixture:3")
    means, log_vars, logits = (to_numpy(weight.value).astype("float64") for weight in made.weights)
    z = np.random.default_rng(0).normal(size=(7, 2))
    weights = np.exp(logits) / np.exp(logits).sum()
    densities = stats.norm.pdf(z[:, None], means, np.exp(log_vars / 2)).prod(2) @ weights
    np.testing.assert_allclose(to_numpy(made.log_prob(tensor(z.astype("float32")))), np.log(densities), rtol=1e-4)


def test_a_flow_is_invertible_and_its_volume_that_of_its_jacobian():
    made = prior(FlowPrior(3, hidden=8), (2, 2, 1))
    z = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    noise, log_determinant = made.to_noise(tensor(z))
    np.testing.assert_allclose(to_numpy(made.from_noise(noise)), z, atol=1e-4)
    step = 2e-3
    for row in range(5):
        shifted = z[row] + step * np.concatenate([np.eye(4), -np.eye(4)]).astype("float32")
        ends = to_numpy(made.to_noise(tensor(shifted))[0]).astype("float64")
        jacobian = (ends[:4] - ends[4:]) / (2 * step)
        expected = np.linalg.slogdet(jacobian)[1]
        np.testing.assert_allclose(to_numpy(log_determinant)[row], expected, atol=0.01)


def test_one_seed_gives_the_same_draws():
    for name in ("standard", "mixture:3", "vamp:3", "flow:3"):
        made = prior(name)
        one, other = (made.sample(4, np.random.default_rng(7), encode=encode) for _ in range(2))
        np.testing.assert_array_equal(one, other)


def test_a_flow_that_is_not_trained_is_the_standard_normal():
    made = get_prior("flow:4")
    made.build((None, 5))
    z = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    np.testing.assert_allclose(to_numpy(made.log_prob(tensor(z))), stats.norm.logpdf(z).sum(1), rtol=1e-5)


def test_each_coupling_has_two_hidden_layers_and_an_order_of_its_own():
    made = FlowPrior(3, hidden=8)
    made.build((None, 5))
    coupling = (2 * 8 + 8) + (8 * 8 + 8) + (8 * 6 + 6)  # two latents give shift and scale of the other three
    assert sum(np.prod(weight.shape) for weight in made.weights) == 3 * coupling
    assert len({tuple(order) for order in made.orders}) > 1
    assert get_prior("flow").layers == 6
    for layers in (1, 64):
        assert FlowPrior(layers).layers == layers
    for layers in (0, 65):
        with pytest.raises(InputError, match="give 1 to 64"):
            FlowPrior(layers)


def test_components_start_apart_and_pseudo_images_in_the_range():
    mixture, vamp = (get_prior(name) for name in ("mixture:50", "vamp:50"))
    for made in (mixture, vamp):
        made.build((None, 2), (None, 4, 2, 1))
    np.testing.assert_allclose(to_numpy(mixture.means.value).std(), 1, atol=0.2)
    pseudo_images = to_numpy(vamp.pseudo_images.value)
    np.testing.assert_allclose([pseudo_images.min(), pseudo_images.max()], [0, 1], atol=0.05)


def test_pseudo_images_stay_in_the_range_and_move_within_it():
    made = prior("vamp:3")
    made.pseudo_images.assign(np.full((3, 1, 2, 1), 0.5))
    optimizer = keras.optimizers.SGD(1.0)
    gradient = np.float32([0.2, -0.3, 3.0, -3.0, 0.5, 0.0]).reshape(3, 1, 2, 1)
    optimizer.apply([tensor(gradient)], [made.pseudo_images])
    np.testing.assert_allclose(to_numpy(made.pseudo_images.value).ravel(), [0.3, 0.8, 0, 1, 0, 0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "least"), [("standard", 2), ("mixture:50", 2 + 50), ("vamp:50", 2 + 50), ("flow:3", 3 * (2 + 2 * 128))]
)
def test_the_memory_of_a_density_holds_its_arrays(name, least):
    """A number for each latent and component, and for each feature of a coupling."""
    made = get_prior(name)
    made.build((None, 2), (None, 4, 2, 1))
    assert least <= made.scratch(None, None) <= 10 * least


def test_a_coupling_has_two_hidden_layers():
    made = FlowPrior(1, hidden=7)
    made.build((None, 4))
    shapes = [tuple(weight.shape) for weight in made.weights if len(weight.shape) == 2]
    assert shapes == [(2, 7), (7, 7), (7, 4)]
