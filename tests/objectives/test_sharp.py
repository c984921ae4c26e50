"""Distances of features and the losses of an adversary, against NumPy."""

import keras
import numpy as np
import pytest

from keras_ae import InputError
from keras_ae.networks import build_classifier, build_discriminator
from keras_ae.objectives import Adversarial, FeatureDistance
from tests.helpers import set_weights

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor


def network(image_shape=(8, 8, 3)) -> keras.Model:
    made = build_classifier(image_shape, 4, width=8)
    set_weights(made.weights)
    return made


def images(n=3, shape=(8, 8, 3), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, *shape), "float32")


def numpys(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of one layer, (n, height, width, channels)."""
    one, two = (x / np.sqrt(np.square(x).sum(-1, keepdims=True)) for x in (features, others))
    return np.square(one - two).sum(-1).mean((1, 2))


def test_a_distance_is_numpys():
    net, one, two = network((16, 16, 3)), images(shape=(16, 16, 3)), images(shape=(16, 16, 3), seed=1)
    names = ["features_1", "features_2"]
    layers = keras.Model(net.input, [net.get_layer(name).output for name in names])
    expected = sum(numpys(to_numpy(a), to_numpy(b)) for a, b in zip(layers(one), layers(two), strict=True))
    np.testing.assert_allclose(to_numpy(FeatureDistance(net)(tensor(one), tensor(two))), expected, rtol=1e-4)
    first = FeatureDistance(net, names[:1])(tensor(one), tensor(two))
    np.testing.assert_allclose(to_numpy(first), numpys(*(to_numpy(layers(x)[0]) for x in (one, two))), rtol=1e-4)
    assert expected.min() > 0.01


def test_images_are_made_to_fit_the_network():
    grey, net = images(shape=(12, 10, 1)), network()
    distance = FeatureDistance(net)
    found = to_numpy(distance(tensor(grey), tensor(1 - grey)))
    scaled = [keras.ops.image.resize(np.repeat(x, 3, -1), (8, 8), antialias=True) for x in (grey, 1 - grey)]
    np.testing.assert_allclose(found, to_numpy(distance(*scaled)), rtol=1e-5)
    colour, of_greys = images(), FeatureDistance(network((8, 8, 1)))
    as_grey = keras.ops.image.rgb_to_grayscale(colour)
    found = to_numpy(of_greys(tensor(colour), tensor(1 - colour)))
    np.testing.assert_allclose(found, to_numpy(of_greys(as_grey, 1 - as_grey)), rtol=1e-3)


def test_features_must_be_those_of_images():
    net = network()
    with pytest.raises(InputError, match=r"has no layer conv_9; known are image, "):
        FeatureDistance(net, ["conv_9"])
    with pytest.raises(InputError, match=r"these are \(None, 16\): name others|these are \(None, 8\): name others"):
        FeatureDistance(net, ["features"])
    unknown = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)])
    for wrong in (keras.Sequential(), keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), unknown):
        with pytest.raises(InputError, match="features come from a functional model of images"):
            FeatureDistance(wrong)
    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(InputError, match="name others"):
        FeatureDistance(flat)


def test_hinges_are_numpys():
    net = build_discriminator((8, 8, 3), width=8)
    set_weights(net.weights)
    adversarial = Adversarial(net, weight=0.5, ramp_steps=10)
    image, made = images(), images(seed=1)
    for weight in net.get_layer("logits").weights:
        weight.assign(5 * weight)  # so that both sides of the hinges are met
    true, false = (to_numpy(net(x)).reshape(3, -1) for x in (image, made))
    model, discriminator = map(to_numpy, adversarial(tensor(image), tensor(made)))
    np.testing.assert_allclose(model, -false.mean(1), rtol=1e-4, atol=1e-5)
    expected = (np.maximum(0, 1 - true) + np.maximum(0, 1 + false)).mean(1)
    np.testing.assert_allclose(discriminator, expected, rtol=1e-4)
    assert {True, False} == set((true > 1).ravel()) == set((false < -1).ravel())
    weights = [float(adversarial.weight_at(tensor(step))) for step in (0, 5, 10, 1000)]
    np.testing.assert_allclose(weights, [0, 0.25, 0.5, 0.5])
    assert float(Adversarial(net, weight=0.5).weight_at(tensor(1))) == 0.5


def test_the_network_stays_its_owners():
    net = network()
    distance = FeatureDistance(net)
    before = distance(*map(tensor, (images(), images(seed=1))))
    assert len(net.trainable_variables) == len(net.weights)
    assert not distance.trainable_variables
    net.weights[0].assign(0 * net.weights[0])
    np.testing.assert_array_equal(to_numpy(distance(*map(tensor, (images(), images(seed=1))))), to_numpy(before))


@pytest.mark.parametrize(("side", "patches"), [(4, 2), (28, 7), (32, 8), (96, 12), (45, 12)])
def test_a_discriminator_judges_patches(side, patches):
    assert build_discriminator((side, side, 1), width=8).output_shape == (None, patches, patches, 1)


@pytest.mark.parametrize(("side", "levels"), [(4, 1), (28, 3), (32, 3), (96, 5)])
def test_a_classifier_has_features_of_each_level(side, levels):
    net = build_classifier((side, side, 3), 10, width=8)
    shapes = [layer.output.shape for layer in net.layers if layer.name.startswith("features_")]
    assert [shape[-1] for shape in shapes] == [8 * 2**level for level in range(levels)]
    assert shapes[-1][1] <= 12
    assert net.output_shape == (None, 10)
