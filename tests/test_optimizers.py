import keras
import numpy as np
import pytest

from keras_ae import Muon, optimizers


def orthogonalised(matrix: np.ndarray, steps: int = 3) -> np.ndarray:
    """The polynomials of the singular values themselves, in NumPy."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / (values**4).sum() ** 0.25
    for a, b, c in optimizers.POLYNOMIALS[:steps]:
        values = a * values + b * values**3 + c * values**5
    return left * values @ right


def test_kernels_take_muons_update_as_matrices_and_narrow_ones_adamws(random):
    shapes = [(3, 3, 16, 32), (4, 4, 3, 64), (64,)]
    gradients = [random.normal(size=shape).astype("float32") for shape in shapes]
    weights = [keras.Variable(np.zeros(shape, "float32")) for shape in shapes]
    optimizer = Muon(0.01, weight_decay=0.0, adam_weight_decay=0.0)
    optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], weights)
    kernel, narrow, bias = (keras.ops.convert_to_numpy(weight.value) for weight in weights)
    expected = -0.01 * 0.2 * np.sqrt(144) * orthogonalised(gradients[0].reshape(144, 32))
    np.testing.assert_allclose(kernel.reshape(144, 32), expected, atol=1e-5)
    for found, gradient in ((narrow, gradients[1]), (bias, gradients[2])):  # Adam's first step, epsilon 1e-7
        expected = -0.01 * gradient / (np.abs(gradient) + 1e-7 / np.sqrt(0.001))
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(96, 16), (16, 96), (40, 32), (16, 16)])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-8])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_matrices_are_orthogonalised_by_the_polynomials(random, shape, smallest, steps):
    short = min(shape)
    left, right = (np.linalg.qr(random.normal(size=(side, short)))[0] for side in shape)
    matrix = left * np.geomspace(1, smallest, short) @ right.T * 30
    found = Muon().zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(matrix.astype("float32")), steps)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), orthogonalised(matrix, steps), atol=2e-3)


def test_each_polynomial_leaves_singular_values_nearer_to_1():
    """Each is the best quintic for what is left of 0.01 to 1: its errors at the ends and between are alike."""
    values = np.geomspace(0.01, 1, 100_000)
    for a, b, c in optimizers.POLYNOMIALS:
        low, high = values.min(), values.max()
        inside = np.linspace(low, high, 100_000)
        errors = a * inside + b * inside**3 + c * inside**5 - 1
        np.testing.assert_allclose(-errors.min(), errors.max(), atol=2e-3)
        np.testing.assert_allclose([-errors[0], errors[-1]], errors.max(), atol=2e-3)
        values = a * values + b * values**3 + c * values**5
    np.testing.assert_allclose(values, 1, atol=1e-3)


def test_a_gradient_of_zeros_moves_nothing():
    found = Muon().zeropower_via_newtonschulz5(keras.ops.zeros((64, 16)), 5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), 0)


def test_it_survives_a_config():
    optimizer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Muon(0.02, ns_steps=4)))
    assert isinstance(optimizer, Muon)
    assert optimizer.ns_steps == 4


def test_the_recipe_warms_up_and_decays_to_0():
    optimizer = optimizers.recipe(steps=500, epochs=10, learning_rate=0.01, clip_norm=2.0)
    rates = {}
    for step in (0, 150, 300, 2650, 5000):
        optimizer.iterations.assign(step)
        rates[step] = float(optimizer.learning_rate)
    expected = {0: 0.001, 150: 0.0055, 300: 0.01, 2650: 0.005, 5000: 0.0}
    assert rates == pytest.approx(expected, abs=1e-8)
    assert optimizer.global_clipnorm == 2.0
    assert optimizers.recipe(steps=5, epochs=2, clip_norm=0.0).global_clipnorm is None
