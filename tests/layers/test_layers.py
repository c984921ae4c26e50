import keras
import numpy as np
import pytest

from keras_ae.layers import Conv2DTranspose, OneHot
from keras_ae.layers.convolution import overlap_add
from tests.helpers import run_layer_or_model

SIZES = [(1, 1), (1, 2), (3, 1), (2, 2), (3, 2), (4, 2), (5, 2), (5, 3)]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), SIZES)
def test_overlap_add_is_the_stock_transposed_convolution(random, kernel, stride, padding):
    x = random.normal(size=(2, 4, 6, 3)).astype("float32")
    stock = keras.layers.Conv2DTranspose(5, kernel, stride, padding=padding, use_bias=False)
    expected = keras.ops.convert_to_numpy(stock(x))
    weights = keras.ops.convert_to_tensor(stock.kernel)
    found = overlap_add(keras.ops.convert_to_tensor(x), weights, stride, padding)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, atol=1e-5)


@pytest.mark.parametrize("kwargs", [{}, {"dilation_rate": 2}, {"output_padding": 1, "strides": 2}, {"strides": (1, 2)}])
def test_conv2d_transpose_equals_stock_with_and_without_fast_path(random, kwargs):
    x = random.normal(size=(2, 4, 6, 3)).astype("float32")
    ours = Conv2DTranspose(5, 3, padding="same", activation="relu", **kwargs)
    stock = keras.layers.Conv2DTranspose(5, 3, padding="same", activation="relu", **kwargs)
    ours.build(x.shape)
    stock.build(x.shape)
    stock.set_weights(ours.get_weights())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(x)), keras.ops.convert_to_numpy(stock(x)), atol=1e-5)


def test_layers_survive_configs_and_files(random, tmp_path):
    image = random.random((2, 4, 4, 3), "float32")
    run_layer_or_model(lambda: Conv2DTranspose(2, 4, 2, padding="same"), image, tmp_path)
    run_layer_or_model(lambda: OneHot(4), np.array([0, 3], "int32"), tmp_path)


def test_one_hot():
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(OneHot(3)(np.array([2, 0]))), [[0, 0, 1], [1, 0, 0]])
