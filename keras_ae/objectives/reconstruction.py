"""The reconstruction alone."""

import keras

from keras_ae.objectives.base import Inference, Objective


@keras.saving.register_keras_serializable("keras_ae")
class Reconstruction(Objective):
    """What the likelihood says of the images, without a KL: of codes without noise.

    >>> Reconstruction().names
    ('loss', 'reconstruction')
    """

    names = ("loss", "reconstruction")

    def terms(self, inference: Inference, *, step, sample_weight, training: bool) -> dict:
        reconstruction = inference.mean_over_draws(inference.reconstruction)
        return {"loss": reconstruction, "reconstruction": reconstruction}

    def scratch(self, inputs, outputs) -> int:
        """A number for each image."""
        return 1
