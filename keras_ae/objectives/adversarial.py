"""What a discriminator says of images that a model makes."""

import keras
from keras import ops

from keras_ae.objectives.base import not_below_0


class Adversarial(keras.layers.Layer):
    """The hinge losses of a model and of the discriminator that judges it (Lim & Ye 2017, "Geometric GAN", section 3;
    Esser et al. 2021, "Taming transformers", section 3.1). The discriminator learns from the first step on, and its
    weight in the model's loss grows from 0: one that starts late ruins what it meets.

    Args:
        discriminator: images (batch, height, width, channels) -> logits (batch, ...), such as `build_discriminator`.
        weight: in the model's loss, for each value of an image.
        ramp_steps: steps over which that weight grows linearly from 0.

    Raises:
        InputError: a number below 0.

    >>> from keras_ae.networks import build_discriminator
    >>> adversarial = Adversarial(build_discriminator((8, 8, 1), width=8), weight=0.001)
    >>> image, made = ops.ones((2, 8, 8, 1)), ops.zeros((2, 8, 8, 1))
    >>> [tuple(loss.shape) for loss in adversarial(image, made)]
    [(2,), (2,)]
    """

    def __init__(self, discriminator: keras.Model, weight: float = 0.001, ramp_steps: int = 0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        not_below_0(weight=weight, ramp_steps=ramp_steps)
        self.discriminator = discriminator
        self.weight = weight
        self.ramp_steps = ramp_steps
        self.built = True

    def call(self, image, made):
        """The losses of the model that made the images, and of the discriminator: (batch,) each."""
        both = ops.concatenate([image, ops.stop_gradient(made)], axis=0)
        true, false = ops.split(self._logits(both), 2, axis=0)
        model = -ops.mean(self._logits(made), axis=1)
        return model, ops.mean(ops.relu(1 - true) + ops.relu(1 + false), axis=1)

    def weight_at(self, step):
        """Of the model's loss, after `step` updates."""
        if not self.ramp_steps:
            return self.weight
        return self.weight * ops.minimum(ops.cast(step, "float32") / self.ramp_steps, 1.0)

    def _logits(self, images):
        logits = ops.cast(self.discriminator(images, training=True), "float32")
        return ops.reshape(logits, (ops.shape(logits)[0], -1))
