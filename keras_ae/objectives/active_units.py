"""Metrics over a whole split that are not means of a vector."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_ae")
class ActiveUnits(keras.metrics.Metric):
    """How many latents carry information: those whose posterior mean varies over the split by more than 0.01
    (Burda et al. 2016, "Importance weighted autoencoders", section 5.2)."""

    def __init__(self, latent_dim: int, threshold: float = 0.01, name: str = "active_units", **kwargs):
        super().__init__(name=name, **kwargs)
        self.threshold = threshold
        self.count = self.add_variable((), "zeros", name="count")
        self.total = self.add_variable((latent_dim,), "zeros", name="total")
        self.total_of_squares = self.add_variable((latent_dim,), "zeros", name="total_of_squares")

    def update_state(self, z_mean, sample_weight=None):
        z_mean = ops.cast(z_mean, self.dtype)
        self.count.assign_add(ops.cast(ops.shape(z_mean)[0], self.dtype))
        self.total.assign_add(ops.sum(z_mean, axis=0))
        self.total_of_squares.assign_add(ops.sum(ops.square(z_mean), axis=0))

    def result(self):
        count = ops.maximum(self.count, 1.0)
        variance = self.total_of_squares / count - ops.square(self.total / count)
        return ops.sum(ops.cast(variance > self.threshold, self.dtype))
