"""How many codes of a codebook are in use."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_ae")
class CodeUsage(keras.metrics.Metric):
    """How evenly codes are used: `perplexity`, the exponential of the entropy of their shares, which is the number of
    codes where all are used alike; and `dead_codes`, the share of those that were never used.

    Args:
        codes: how many there are.

    >>> metric = CodeUsage(codes=4)
    >>> metric.update_state([[0, 1], [1, 0]])
    >>> {name: round(float(value), 3) for name, value in metric.result().items()}
    {'perplexity': 2.0, 'dead_codes': 0.5}
    """

    def __init__(self, codes: int, name: str = "code_usage", **kwargs):
        super().__init__(name=name, **kwargs)
        self.codes = codes
        self.counts = self.add_variable((codes,), "zeros", name="counts")

    def update_state(self, tokens, sample_weight=None):
        """Adds tokens (batch, ...) of images that count `sample_weight` (batch,) times."""
        tokens = ops.convert_to_tensor(tokens, "int32")
        tokens = ops.reshape(tokens, (ops.shape(tokens)[0], -1))
        weight = ops.ones_like(tokens, dtype=self.dtype)
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, self.dtype)[:, None]
        self.counts.assign_add(ops.segment_sum(ops.ravel(weight), ops.ravel(tokens), self.codes))

    def result(self) -> dict:
        counts = ops.convert_to_tensor(self.counts)
        shares = counts / ops.maximum(ops.sum(counts), 1e-7)
        entropy = -ops.sum(ops.where(counts > 0, shares * ops.log(ops.maximum(shares, 1e-30)), 0.0))
        dead = ops.mean(ops.cast(ops.equal(counts, 0.0), self.dtype))
        return {"perplexity": ops.exp(entropy), "dead_codes": dead}

    def get_config(self):
        return {**super().get_config(), "codes": self.codes}
