import keras
import numpy as np
import pytest

from keras_ae import Muon, optimizers


def orthogonalised(matrix: np.ndarray) -> np.ndarray:
    """Newton-Schulz as published by Jordan et al. 2024, in NumPy."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / np.linalg.norm(wide)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


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


@pytest.mark.parametrize("shape", [(96, 16), (16, 96), (40, 32), (32, 16)])
@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-8])
def test_long_matrices_are_orthogonalised_by_the_same_polynomials(random, shape, smallest):
    short = min(shape)
    left, right = (np.linalg.qr(random.normal(size=(side, short)))[0] for side in shape)
    matrix = left * np.geomspace(1, smallest, short) @ right.T * 30
    found = Muon().zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(matrix.astype("float32")), 5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), orthogonalised(matrix), atol=1e-3)


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
