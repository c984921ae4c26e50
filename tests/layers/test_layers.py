import keras
import numpy as np
import pytest

from keras_ae import backends
from keras_ae.layers import Conv2D, Conv2DTranspose, FillMissing, KeepKnown, OneHot, with_label
from tests.helpers import run_layer_or_model

SIZES = [(1, 2), (3, 1), (3, 2), (4, 2), (5, 3), ((2, 4), (1, 2))]
STOCK = {Conv2D: keras.layers.Conv2D, Conv2DTranspose: keras.layers.Conv2DTranspose}
has_fast_paths = pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="there they are the stock layers")
on_cpu = "cpu" in str(keras.ops.ones(1).device).lower()  # elsewhere the stock operations are the fast ones


def assert_equal_stock(x, tolerance=1e-4, classes=tuple(STOCK), **kwargs):
    """Compares outputs, and weights after a step of descent: also those of a layer before, which the gradient reaches
    through the input."""
    image = keras.Input(x.shape[1:])
    pairs, outputs = [], []
    for layer in classes:
        pair = layer(**kwargs), STOCK[layer](**kwargs)
        before = keras.layers.Conv2D(x.shape[-1], 1), keras.layers.Conv2D(x.shape[-1], 1)
        outputs += [each(first(image)) for first, each in zip(before, pair, strict=True)]
        pairs += [before, pair]
    for ours, stock in pairs:
        stock.set_weights(ours.get_weights())
    model = keras.Model(image, outputs)
    found = [keras.ops.convert_to_numpy(output).astype("float32") for output in model(x)]
    for ours, stock in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_allclose(ours, stock, atol=tolerance)
    model.compile(keras.optimizers.SGD(1.0), ["mse"] * len(found))
    model.train_on_batch(x, [np.linspace(-1, 1, each.size, dtype="float32").reshape(each.shape) for each in found])
    for ours, stock in pairs:
        for weight, expected in zip(ours.get_weights(), stock.get_weights(), strict=True):
            np.testing.assert_allclose(weight.astype("float32"), expected.astype("float32"), atol=tolerance)


@has_fast_paths
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), SIZES)
def test_convolutions_equal_stock_in_value_and_gradient(random, kernel, stride, padding):
    x = random.normal(size=(2, 6, 7, 3)).astype("float32")
    assert_equal_stock(x, filters=16, kernel_size=kernel, strides=stride, padding=padding)


def test_the_default_convolutions_take_the_fast_path_where_there_is_one():
    x, backend = keras.ops.ones((2, 6, 8, 3)), keras.backend.backend()
    kernels = keras.ops.ones((4, 4, 3, 16)), keras.ops.ones((4, 4, 16, 3))
    for operation, kernel in zip((backends.conv2d, backends.conv2d_transpose), kernels, strict=True):
        assert (operation(x, kernel, None, (2, 2), "same") is not None) == (backend != "tensorflow" and on_cpu)


@has_fast_paths
@pytest.mark.parametrize(("layer", "channels"), [(Conv2D, 3), (Conv2DTranspose, 16)])
def test_layers_take_the_fast_path(layer, channels):
    x = keras.ops.ones((2, 6, 8, channels))
    for bias in (True, False):
        convolution = layer(16, 4, 2, padding="same", use_bias=bias)
        convolution.build(x.shape)
        assert (convolution._fast(x) is not None) == on_cpu


@has_fast_paths
@pytest.mark.parametrize(
    ("layer", "kwargs"),
    [
        (Conv2D, {"dilation_rate": 2}),
        (Conv2D, {"groups": 3, "filters": 6}),
        (Conv2D, {"use_bias": False, "strides": 2}),
        (Conv2DTranspose, {"dilation_rate": 2}),
        (Conv2DTranspose, {"output_padding": 1, "strides": 2}),
        (Conv2DTranspose, {"strides": (1, 2)}),
    ],
)
def test_every_argument_of_stock_convolutions_means_the_same(random, layer, kwargs):
    x = random.normal(size=(2, 6, 7, 3)).astype("float32")
    settings = {"filters": 16, "kernel_size": 3, "padding": "same", "activation": "relu"} | kwargs
    assert_equal_stock(x, classes=(layer,), **settings)


@has_fast_paths
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_convolutions_equal_stock_in_other_precisions(random, dtype):
    x = random.normal(size=(2, 6, 7, 3)).astype("float32")
    # A sum in another order may differ in the last of bfloat16's 8 bits.
    assert_equal_stock(x, 0.03, filters=16, kernel_size=4, strides=2, padding="same", dtype=dtype)


def test_layers_survive_configs_and_files(random, tmp_path):
    image = random.random((2, 4, 4, 3), "float32")
    run_layer_or_model(lambda: Conv2D(2, 4, 2, padding="same"), image, tmp_path)
    run_layer_or_model(lambda: Conv2DTranspose(2, 4, 2, padding="same"), image, tmp_path)
    run_layer_or_model(lambda: OneHot(4), np.array([0, 3], "int32"), tmp_path)


def test_one_hot():
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(OneHot(3)(np.array([2, 0]))), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5)])
def test_a_label_is_appended_at_every_place(random, shape):
    inputs = keras.Input(shape), keras.Input((), dtype="int32")
    x = random.random((2, *shape), "float32")
    labels = np.array([2, 0], "int32")
    appended = keras.ops.convert_to_numpy(keras.Model(inputs, with_label(*inputs, 3))([x, labels]))
    np.testing.assert_array_equal(appended[..., :5], x)
    one_hot = np.eye(3)[labels].reshape(2, *[1] * (len(shape) - 1), 3)
    np.testing.assert_array_equal(appended[..., 5:], np.broadcast_to(one_hot, (2, *shape[:-1], 3)))


def test_missing_pixels_are_filled_from_the_known_ones_around(random):
    image = random.random((3, 7, 5, 3), "float32")
    mask = (random.random((3, 7, 5, 1)) < 0.4).astype("float32")
    mask[2] = 0
    mask[2, 4, 3] = 1  # one pixel is known
    filled = keras.ops.convert_to_numpy(FillMissing()([image, mask]))
    known = np.broadcast_to(mask > 0, image.shape)
    np.testing.assert_array_equal(filled[known], image[known])
    np.testing.assert_allclose(filled[2], np.broadcast_to(image[2, 4, 3], (7, 5, 3)), atol=1e-6)
    assert filled.min() >= image[known].min() - 1e-6
    assert filled.max() <= image[known].max() + 1e-6
    constant = FillMissing()([np.full_like(image, 0.3), mask])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(constant), 0.3, atol=1e-6)


def test_a_smoothed_filling_has_the_least_squared_laplacian(random):
    image = random.random((2, 7, 6, 2), "float32")
    mask = np.ones((2, 7, 6, 1), "float32")
    mask[0, 2:5, 1:4] = 0
    mask[1, random.random((7, 6)) < 0.4] = 0
    laplacian = np.zeros((42, 42))  # a matrix: each pixel's neighbours minus itself
    for y, x in np.ndindex(7, 6):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < 7 and 0 <= u < 6:
                laplacian[6 * y + x, 6 * v + u] += 1
                laplacian[6 * y + x, 6 * y + x] -= 1

    def roughness(filled):
        return np.square(np.einsum("pq,nqc->npc", laplacian, np.reshape(filled, (2, 42, 2)))).sum((1, 2))

    least = image.reshape(2, 42, 2).astype("float64")
    for flat, known in zip(least, mask.reshape(2, 42) > 0, strict=True):
        flat[~known] = np.linalg.lstsq(laplacian[:, ~known], -laplacian[:, known] @ flat[known], rcond=None)[0]
    filled = {n: keras.ops.convert_to_numpy(FillMissing(n)([image, mask])) for n in (0, 4, 60)}
    np.testing.assert_allclose(filled[60].reshape(2, 42, 2), least, atol=1e-4)
    excess = {n: roughness(images) - roughness(least) for n, images in filled.items()}
    assert (excess[4] < 0.2 * excess[0]).all()
    np.testing.assert_array_equal(np.where(mask > 0, filled[4], 0), np.where(mask > 0, image, 0))


def test_a_missing_corner_is_the_mean_of_the_others():
    image = np.float32([0.1, 0.2, 0.6, 0.9]).reshape(1, 2, 2, 1)
    filled = FillMissing()([image, np.float32([1, 1, 1, 0]).reshape(1, 2, 2, 1)])
    np.testing.assert_allclose(np.ravel(keras.ops.convert_to_numpy(filled)), [0.1, 0.2, 0.6, 0.3], atol=1e-6)


def test_known_pixels_are_kept_bit_for_bit(random):
    image, filling = random.random((2, 2, 3, 5, 3), "float32")
    mask = (random.random((2, 3, 5, 1)) < 0.5).astype("float32")
    kept = keras.ops.convert_to_numpy(KeepKnown()([image, mask, filling]))
    np.testing.assert_array_equal(kept, np.where(mask > 0, image, filling))
