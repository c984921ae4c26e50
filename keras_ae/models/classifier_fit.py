"""The training of a classifier."""

import keras
from keras import ops

from keras_ae.models.guarded import GuardedModel, Step


class ClassifierFit(GuardedModel):
    """Trains a classifier by `fit`, on batches `{"image", "label"}`. Reports the cross-entropy in nats and the share of
    images that are classified right.

    Args:
        network: images (batch, height, width, channels) -> logits (batch, classes).

    >>> import numpy as np
    >>> from keras_ae.networks import build_classifier
    >>> fit = ClassifierFit(build_classifier((8, 8, 1), classes=3, width=8))
    >>> fit.compile("adam")
    >>> history = fit.fit({"image": np.zeros((4, 8, 8, 1)), "label": np.zeros(4)}, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'loss', 'skipped_steps']
    """

    def __init__(self, network: keras.Model, **kwargs):
        super().__init__(term_names=("loss", "accuracy"), **kwargs)
        self.network = network
        self.built = True

    def shipped(self) -> keras.Model:
        return self.network

    def loss_terms(self, x, y=None, sample_weight=None, training=False) -> Step:
        logits, label = self.network(x["image"], training=training), ops.cast(x["label"], "int32")
        losses = keras.losses.sparse_categorical_crossentropy(label, logits, from_logits=True)
        right = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=1), "int32"), label), "float32")
        losses = losses if sample_weight is None else losses * sample_weight
        return Step((ops.mean(losses),), {"loss": losses, "accuracy": right}, {})
