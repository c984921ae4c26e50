"""How many latents carry information."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_ae")
class ActiveUnits(keras.metrics.Metric):
    """How many latents carry information: those whose posterior mean varies over the split by more than 0.01
    (Burda et al. 2016, "Importance weighted autoencoders", section 5.2).

    Args:
        latent_dim: how many latents there are.
        threshold: of the variance.

    >>> metric = ActiveUnits(latent_dim=2)
    >>> metric.update_state([[1.0, 0.0], [-1.0, 0.0]])
    >>> int(metric.result())
    1
    """

    def __init__(self, latent_dim: int, threshold: float = 0.01, name: str = "active_units", **kwargs):
        super().__init__(name=name, **kwargs)
        self.latent_dim = latent_dim
        self.threshold = threshold
        self.count = self.add_variable((), "zeros", name="count")
        self.total = self.add_variable((latent_dim,), "zeros", name="total")
        self.total_of_squares = self.add_variable((latent_dim,), "zeros", name="total_of_squares")

    def update_state(self, z_mean, sample_weight=None):
        """Adds the posterior means (batch, latent_dim) of images that count `sample_weight` (batch,) times."""
        z_mean = ops.cast(z_mean, self.dtype)
        weight = ops.ones_like(z_mean[:, 0]) if sample_weight is None else ops.cast(sample_weight, self.dtype)
        self.count.assign_add(ops.sum(weight))
        self.total.assign_add(ops.sum(weight[:, None] * z_mean, axis=0))
        self.total_of_squares.assign_add(ops.sum(weight[:, None] * ops.square(z_mean), axis=0))

    def result(self):
        count = ops.maximum(ops.convert_to_tensor(self.count), 1e-7)
        variance = self.total_of_squares / count - ops.square(self.total / count)
        return ops.sum(ops.cast(variance > self.threshold, self.dtype))

    def get_config(self):
        return {**super().get_config(), "latent_dim": self.latent_dim, "threshold": self.threshold}
