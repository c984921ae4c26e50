"""How alike two images are to a network."""

import keras
from keras import ops

from keras_ae.errors import InputError

FEATURES = "features_"  # how the names of layers begin that are taken where none are named
EPSILON = 1e-8


class FeatureDistance(keras.layers.Layer):
    """The squared distance of two images' features, each normalised over its channels: the mean over the places of a
    layer, and the sum over layers (Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual
    metric", equation 1, without weights of its own).

    Args:
        network: a functional model that takes images (batch, height, width, 1 or 3) in [0, 1], such as a classifier of
            `train/classifier.py`. Images of another size are scaled to its own. A copy of it is kept, and not trained.
        layers: names of its layers. `None`: those whose names begin with `features_`; else its outputs.
        weight: of the distance in a loss, for each value of an image: it counts as much as an error of this size.

    Raises:
        InputError: the network takes no images, has no layer of that name, or its features have no places.

    >>> from keras_ae.networks import build_classifier
    >>> distance = FeatureDistance(build_classifier((8, 8, 3), 10, width=8))
    >>> images = ops.ones((2, 16, 16, 3))
    >>> ops.convert_to_numpy(distance(images, images)).tolist()
    [0.0, 0.0]
    """

    def __init__(self, network: keras.Model, layers: list[str] | None = None, weight: float = 0.01, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        check_takes_images(network, "this network")
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        self.network = keras.Model(copy.inputs[0], _outputs(copy, layers))
        self.network.trainable = False
        self.weight = weight
        self.built = True

    def call(self, image, other):
        """(batch,), of images (batch, height, width, channels) in [0, 1]."""
        both = fitted_to(self.network, ops.concatenate([image, other], axis=0))
        total = 0.0
        for features in keras.tree.flatten(self.network(both, training=False)):
            features = ops.cast(features, "float32")
            norm = ops.sqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + EPSILON)
            one, two = ops.split(features / norm, 2, axis=0)
            total = total + ops.mean(ops.sum(ops.square(one - two), axis=-1), axis=(1, 2))
        return total


def check_takes_images(network: keras.Model, name: str) -> None:
    """Returns if a network takes images of a size.

    Raises:
        InputError: it does not.

    >>> image = keras.Input((8, 8, 3))
    >>> check_takes_images(keras.Model(image, image + 1), "it")
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in getattr(network, "inputs", None) or []]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0] or shapes[0][2] not in (1, 3):
        raise InputError(
            f"features come from a functional model of images (height, width, 1 or 3 channels); {name} takes {shapes}"
        )


def fitted_to(network: keras.Model, images):
    """Images (batch, height, width, channels), scaled to the size that a network takes, grey or in colours.

    >>> image = keras.Input((8, 8, 3))
    >>> tuple(fitted_to(keras.Model(image, image + 1), ops.ones((2, 5, 6, 1))).shape)
    (2, 8, 8, 3)
    """
    height, width, channels = network.inputs[0].shape[1:]
    if channels == 3 and images.shape[-1] == 1:
        images = ops.repeat(images, 3, axis=-1)
    if channels == 1 and images.shape[-1] == 3:
        images = ops.image.rgb_to_grayscale(images)
    if tuple(images.shape[1:3]) != (height, width):
        images = ops.image.resize(images, (height, width), antialias=True)
    return images


def _outputs(network, names: list[str] | None) -> list:
    """The tensors of the named layers."""
    known = {layer.name: layer for layer in network.layers}
    if unknown := [name for name in names or [] if name not in known]:
        raise InputError(f"the network has no layer {', '.join(unknown)}; known are {', '.join(known)}")
    names = names or [name for name in known if name.startswith(FEATURES)]
    outputs = [known[name].output for name in names] or network.outputs
    if any(len(output.shape) != 4 for output in outputs):
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise InputError(f"features have places, (batch, height, width, channels); these are {shapes}: name others")
    return outputs
