"""Regularizers: terms that an ELBO's loss takes besides."""

import math

import keras
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.objectives.base import Inference
from keras_ae.objectives.gaussians import log_normal


class Regularizer(keras.layers.Layer):
    """A term of the loss while training.

    Attributes:
        term: its name among the reports.
        weight_in_loss: what its value is multiplied by.

    >>> import keras_ae
    >>> vae = keras_ae.build_vae((8, 8, 1), 2, regularizers=["tc:6"], width=4)
    >>> [regularizer.term for regularizer in vae.objective.regularizers]
    ['tc']
    """

    term = "regularizer"

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.built = True

    def terms(self, inference: Inference, sample_weight):
        """(batch,), in nats."""
        raise NotImplementedError

    def adapt(self, split) -> None:
        """Takes what depends on the training images from a `data.Split`."""

    def check_ready(self) -> None:
        """Returns if a training may begin.

        Raises:
            InputError: `adapt` is missing.
        """


@keras.saving.register_keras_serializable("keras_ae")
class TotalCorrelation(Regularizer):
    """How far the latents of all training images together are from independent: KL(q(z) || prod_j q(z_j)), of which
    the ELBO's KL holds one (Chen et al. 2018, "Isolating sources of disentanglement in variational autoencoders",
    equation 2). It is estimated with stratified weights, which that paper's code puts into the wrong column: here a
    draw's own posterior has the weight 1/N.

    Args:
        weight: of the total correlation in the whole loss, beta in that paper. 1 leaves the ELBO as it is.
        images: N, how many the model trains on; `adapt` sets it.

    Raises:
        InputError: a weight below 0. In `fit`: `images` is not known, or is smaller than a batch.

    >>> TotalCorrelation(6, images=1000).weight_in_loss
    5.0
    """

    number = ("weight", float)
    term = "tc"

    def __init__(self, weight: float = 6.0, images: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not weight >= 0:
            raise InputError(f"the weight {weight} of the total correlation must not be below 0")
        self.weight = float(weight)
        self.images = images

    @property
    def weight_in_loss(self) -> float:
        return self.weight - 1.0

    def adapt(self, split) -> None:
        self.images = len(split)

    def check_ready(self) -> None:
        if self.images is None:
            raise InputError(
                "the total correlation needs the number of training images: call vae.adapt(dataset.train), or give "
                "TotalCorrelation(images=...)"
            )

    def terms(self, inference: Inference, sample_weight):
        draw = inference.draw
        z, z_mean, z_log_var = (ops.reshape(x, (-1, math.prod(x.shape[1:]))) for x in draw[:3])
        z_mean, z_log_var = backends.gather(z_mean), backends.gather(z_log_var)
        log_q = log_normal(z[:, None], z_mean[None], z_log_var[None])  # (own rows, batch, latents)
        log_weights = backends.own(
            lambda batch: stratified_log_weights(batch, self.images), z.shape[0] or ops.shape(z)[0]
        )
        joint = ops.logsumexp(ops.sum(log_q, axis=2) + log_weights, axis=1)
        each = ops.logsumexp(log_q + log_weights[:, :, None], axis=1)
        return joint - ops.sum(each, axis=1)

    def scratch(self, inputs, outputs) -> int:
        """Nothing outside a training."""
        return 0

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "images": self.images}


def stratified_log_weights(batch, images: int):
    """The logarithm of how often each image of a batch stands for all `images` in the mean over them: (batch, batch).

    In each row the draw's own image has the weight 1/N, one other (N - M)/(N M), and the rest 1/M, where N is `images`
    and M is the batch less one (Chen et al. 2018, appendix C.2, with the weight of the own image on the diagonal). A
    row sums to 1.

    Raises:
        InputError: the batch has more images than there are, or less than 2.

    >>> for row in ops.exp(stratified_log_weights(3, images=6)):
    ...     print([round(float(weight), 3) for weight in row])
    [0.167, 0.333, 0.5]
    [0.5, 0.167, 0.333]
    [0.333, 0.5, 0.167]
    """
    if isinstance(batch, int) and not 2 <= batch <= images:
        raise InputError(
            f"the total correlation of a batch of {batch} among {images} images is not known; "
            f"give batches of 2 to {images}"
        )
    rows = ops.arange(batch)
    others = batch - 1
    own, next_one = rows[:, None] == rows[None], ops.mod(rows[:, None] + 1, batch) == rows[None]
    others = ops.cast(others, "float32")
    weights = ops.where(own, 1 / images, ops.where(next_one, (images - others) / (images * others), 1 / others))
    return ops.log(weights)


REGULARIZERS = {"tc": TotalCorrelation}
