"""The training of a VAE for sharp images."""

import math

import keras
from keras import ops

from keras_ae.models.guarded import GuardedModel, Step
from keras_ae.models.vae import VAE
from keras_ae.objectives.adversarial import Adversarial
from keras_ae.objectives.features import FeatureDistance


class SharpFit(GuardedModel):
    """Trains a VAE by `fit` with more than its own objective: a distance of features, a discriminator, or both, between
    the scored images and their reconstructions. What is saved is the VAE alone.

    Reports what the VAE reports, and besides: `features`, `adversarial` (the model's loss before its weight), and
    `discriminator` (that of the other). The loss of an evaluation is without a discriminator.

    Args:
        vae: the model. It learns in place.
        features: a `FeatureDistance`, or `None`.
        adversarial: an `Adversarial`, or `None`. `compile` then takes two optimizers, of the model and of the
            discriminator.

    >>> import keras, keras_ae, numpy as np
    >>> from keras_ae.networks import build_discriminator
    >>> vae = keras_ae.build_vae((8, 8, 1), (2, 2), latent="fsq:5x5", width=4)
    >>> fit = SharpFit(vae, adversarial=Adversarial(build_discriminator((8, 8, 1), width=8)))
    >>> fit.compile([keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)])
    >>> history = fit.fit(np.zeros((4, 8, 8, 1)), verbose=0)
    >>> fit.shipped() is vae
    True
    """

    def __init__(
        self, vae: VAE, *, features: FeatureDistance | None = None, adversarial: Adversarial | None = None, **kwargs
    ):
        names = ["loss", *["features"] * bool(features), *["adversarial", "discriminator"] * bool(adversarial)]
        super().__init__(max_skipped_steps=vae.max_skipped_steps, term_names=tuple(names), **kwargs)
        self.vae = vae
        self.features = features
        self.adversarial = adversarial
        self.draws = vae.draws
        self._evaluation_start = vae._evaluation_start
        self.built = True

    @property
    def evaluation_noise(self):
        return self.vae.evaluation_noise

    def shipped(self) -> VAE:
        return self.vae

    def compile(self, optimizer="adam", metrics=None, **kwargs):
        """As `VAE.compile`; `optimizer` is a list of two with a discriminator."""
        super().compile(optimizer, **kwargs)
        self.vae.image_metrics = [keras.metrics.get(metric) for metric in metrics or []]

    def variables_by_loss(self) -> list[list]:
        groups = [self.vae.trainable_variables]
        return [*groups, self.adversarial.trainable_variables] if self.adversarial else groups

    def loss_terms(self, x, y=None, sample_weight=None, training=False) -> Step:
        updates = self.optimizer.iterations if training else None
        step = self.vae.loss_terms(x, y, sample_weight, training, updates)
        image, made = step.outputs["image"], step.outputs["reconstruction"]
        vectors, added, others = dict(step.vectors), 0.0, []
        if self.features:
            vectors["features"] = self.features(image, made)
            added = added + self.features.weight * vectors["features"]
        if self.adversarial and training:
            vectors["adversarial"], vectors["discriminator"] = self.adversarial(image, made)
            added = added + self.adversarial.weight_at(updates) * vectors["adversarial"]
            others = [ops.mean(_weighted(vectors["discriminator"], sample_weight))]
        vectors["loss"] = vectors["loss"] + _weighted(math.prod(image.shape[1:]) * added, sample_weight)
        return Step((ops.mean(vectors["loss"]), *others), vectors, step.outputs)

    def adapt(self, split) -> None:
        """As `VAE.adapt`."""
        self.vae.adapt(split)

    def fit(self, x=None, y=None, *args, **kwargs):
        y = self.vae.checked_targets(x, y, kwargs)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, **kwargs):
        y = self.vae.checked_target(x, y, sample_weight)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    @property
    def metrics(self):
        own = [self.terms, *self.step_metrics]
        return [*own, *(metric for metric in self.vae.metrics if metric is not self.vae.skipped_steps)]

    def update_metrics(self, step, sample_weight, training: bool):
        super().update_metrics(step, sample_weight, training)
        self.vae.update_metrics(step, sample_weight, training)

    def metric_results(self, training: bool) -> dict:
        own = super().metric_results(training)
        if not training:
            own = {name: value for name, value in own.items() if name not in ("adversarial", "discriminator")}
        return self.vae.metric_results(training) | own


def _weighted(values, sample_weight):
    return values if sample_weight is None else values * sample_weight
