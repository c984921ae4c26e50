"""The optimizer of the scripts."""

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
