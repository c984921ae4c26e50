"""The training of a prior on codes."""

from functools import partial

from keras import ops

from keras_ae.models.guarded import GuardedModel, Step
from keras_ae.models.vae import VAE

MOMENTUM = 0.999  # of the averaged weights, at most


class PriorFit(GuardedModel):
    """Trains the network of a VAE's prior by `fit`, on batches `{"code", "label"}`. The VAE's own network has the
    moving average of the trained weights, which is what samples and what validates.

    Args:
        vae: whose prior has a network. Everything else of it stays as it is.
        seed: of the noise.

    >>> import keras_ae, numpy as np
    >>> model = keras_ae.conv_autoencoder((8, 8, 1), 2, 3, width=4)
    >>> prior = keras_ae.priors.FlowMatching(width=8, blocks=1)
    >>> prior.build((None, 2, 2, 3))
    >>> fit = PriorFit(keras_ae.with_prior(model, prior))
    >>> fit.compile("adam")
    >>> history = fit.fit({"code": np.zeros((4, 2, 2, 3)), "label": np.zeros(4)}, verbose=0)
    >>> fit.shipped().sample(2).shape
    (2, 8, 8, 1)
    """

    def __init__(self, vae: VAE, *, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self._vae = lambda: vae  # hidden from Keras: only the prior is this model's
        self.prior = vae.prior
        self.network = self.prior.make_network()
        self.prior.network.set_weights(self.network.get_weights())
        self.steps = self.add_weight(name="steps", shape=(), initializer="zeros", trainable=False)
        self.make_noise(seed)
        self.built = True

    def shipped(self) -> VAE:
        return self._vae()

    def loss_terms(self, x, y=None, sample_weight=None, training=False) -> Step:
        normal = partial(self.normal, training=training)
        network = self.network if training else self.prior.network
        losses = self.prior.losses(network, x["code"], x.get("label"), normal)
        if training:
            self._average()
        return Step((ops.mean(losses),), {"loss": losses}, {})

    def _average(self) -> None:
        """A step of the moving average, shorter at first."""
        momentum = ops.minimum(MOMENTUM, (1 + self.steps) / (10 + self.steps))
        for average, weight in zip(self.prior.network.weights, self.network.weights, strict=True):
            average.assign(momentum * average + (1 - momentum) * weight)
        self.steps.assign(self.steps + 1)
