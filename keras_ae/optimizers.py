"""Muon for convolutions, and the recipe of the scripts: its schedule and its clipping."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_ae")
class Muon(keras.optimizers.Muon):
    """`keras.optimizers.Muon` that treats convolution kernels as matrices, too.

    Keras gives Muon's orthogonalised update (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) to
    dense layers only. Here a kernel (height, width, in, out) takes it as the matrix
    (height x width x in, out), as in Jordan's original. Biases, and the convolutions next to the
    image, whose channels are too few to orthogonalise, keep AdamW.
    """

    smallest_side = 16

    def _should_use_adamw(self, variable):
        if len(variable.shape) == 4 and min(variable.shape[-2:]) >= self.smallest_side:
            return False
        return super()._should_use_adamw(variable)

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, gradient + m * (self.momentum - 1))
        direction = gradient + self.momentum * m if self.nesterov else m
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        update = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, variable.shape))


def recipe(
    steps: int, epochs: int, learning_rate: float = 3e-3, clip_norm: float | None = None
) -> keras.optimizers.Optimizer:
    """Muon with a warm-up and a cosine decay to 0. It needs far fewer epochs than Adam (docs/performance.md).

    Args:
        steps: of an epoch.
        epochs: over which the learning rate decays.
        learning_rate: its peak, after a tenth of all steps or 300, whichever comes first.
        clip_norm: bound of the norm of the whole gradient. `None` or 0: no bound.

    >>> from keras_ae import optimizers
    >>> optimizer = optimizers.recipe(steps=100, epochs=5)
    >>> round(float(optimizer.learning_rate), 5)  # a tenth of the peak, at first
    0.0003
    """
    total = steps * epochs
    warmup = min(300, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.1 * learning_rate,
        total - warmup,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    return Muon(schedule, global_clipnorm=clip_norm or None)
