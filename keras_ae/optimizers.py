"""Muon for convolutions, the recipe of the scripts, and several optimizers as one."""

import keras
from keras import ops

from keras_ae.errors import InputError

# Factors of x, x^3 and x^5: the polynomials nearest to 1 for singular values of 0.01 to 1, then of what they leave.
POLYNOMIALS = (
    (8.0934, -23.6204, 17.4462),
    (3.6366, -2.7219, 0.5365),
    (2.6613, -1.9772, 0.4526),
    (1.9562, -1.3375, 0.3839),
    (1.875, -1.25, 0.375),
)


@keras.saving.register_keras_serializable("keras_ae")
class Muon(keras.optimizers.Muon):
    """`keras.optimizers.Muon` that treats convolution kernels as matrices, too.

    Keras gives Muon's orthogonalised update (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) to
    dense layers only. Here a kernel (height, width, in, out) takes it as the matrix
    (height x width x in, out), as in Jordan's original. Biases, and the convolutions next to the
    image, whose channels are too few to orthogonalise, keep AdamW.

    `ns_steps` polynomials move singular values towards 1, each the best for what the one before leaves (Amsel et al.
    2025, "The Polar Express", arXiv 2505.16932). Three of them, from a sharper bound of the largest singular value,
    take half of the time of Keras's five, or less. `muon_a`, `muon_b` and `muon_c` change nothing here.

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
    >>> vae.compile(keras_ae.Muon(1e-3))
    """

    smallest_side = 16

    def __init__(self, *args, ns_steps: int = 3, **kwargs):
        super().__init__(*args, ns_steps=ns_steps, **kwargs)

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

    def zeropower_via_newtonschulz5(self, x, steps: int):
        """x with its singular values moved towards 1, by `POLYNOMIALS`. They are applied to the Gram matrix of the
        shorter side, which tells how each iteration changes the next."""
        wide = x if x.shape[0] < x.shape[1] else ops.transpose(x)
        gram = wide @ ops.transpose(wide)
        largest = ops.sqrt(ops.sum(ops.square(gram))) + 1e-14  # at least the largest squared singular value
        gram = gram / largest
        identity = ops.eye(gram.shape[0], dtype=x.dtype)
        product = None
        for step in range(steps):
            first, third, fifth = POLYNOMIALS[min(step, len(POLYNOMIALS) - 1)]
            factor = first * identity + third * gram + fifth * gram @ gram
            product = factor if product is None else factor @ product
            if step < steps - 1:
                gram = factor @ gram @ factor
        wide = (product / ops.sqrt(largest)) @ wide
        return wide if x.shape[0] < x.shape[1] else ops.transpose(wide)


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
    return Muon(schedule(steps * epochs, learning_rate), global_clipnorm=clip_norm or None)


def schedule(total: int, learning_rate: float) -> keras.optimizers.schedules.CosineDecay:
    """A warm-up over a tenth of all steps or 300, whichever comes first, and a cosine decay to 0.

    Args:
        total: steps.
        learning_rate: its peak.

    >>> [round(float(schedule(100, 1.0)(step)), 3) for step in (0, 10, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    warmup = min(300, total // 10)
    return keras.optimizers.schedules.CosineDecay(
        0.1 * learning_rate,
        total - warmup,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )


@keras.saving.register_keras_serializable("keras_ae")
class OptimizerGroup(keras.optimizers.Optimizer):
    """Several optimizers as one, each for its own part of a model's variables.

    Keras trains, checkpoints and saves one optimizer; on JAX, only its variables are the state of a step. This one has
    the variables of all. Gradient scaling, rollback and checkpoints therefore cover all of them.

    `GuardedModel.compile` makes one of a list of optimizers. `learning_rate` and `iterations` are the first's.

    Args:
        optimizers: one for each loss of the model.

    >>> from keras_ae.optimizers import OptimizerGroup
    >>> group = OptimizerGroup([keras.optimizers.Adam(1e-3), keras.optimizers.SGD(1e-2)])
    >>> round(float(group.learning_rate), 4)
    0.001
    """

    variables_by_loss = None  # the model's method, which `compile` sets

    def __init__(self, optimizers, name: str = "optimizer_group"):
        super().__init__(learning_rate=0.0, name=name)
        self.optimizers = [keras.optimizers.get(optimizer) for optimizer in optimizers]

    def build(self, variables):
        groups = self.variables_by_loss()
        if len(groups) != len(self.optimizers):
            raise InputError(f"{len(self.optimizers)} optimizers for {len(groups)} losses; give one for each loss")
        for optimizer, group in zip(self.optimizers, groups, strict=True):
            optimizer.build(group)
        super().build(variables)

    @property
    def variables(self):
        return [variable for optimizer in self.optimizers for variable in optimizer.variables]

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        gradients = dict(zip(map(id, variables), grads, strict=True))
        for optimizer, group in zip(self.optimizers, self.variables_by_loss(), strict=True):
            optimizer.apply([gradients[id(variable)] for variable in group], group)

    def finalize_variable_values(self, var_list):
        for optimizer, group in zip(self.optimizers, self.variables_by_loss(), strict=True):
            optimizer.finalize_variable_values(group)

    @property
    def iterations(self):
        return self.optimizers[0].iterations

    @property
    def learning_rate(self):
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.optimizers[0].learning_rate = learning_rate

    def get_config(self):
        return {"name": self.name, "optimizers": [keras.saving.serialize_keras_object(o) for o in self.optimizers]}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        optimizers = [keras.saving.deserialize_keras_object(o, custom_objects) for o in config["optimizers"]]
        return cls(optimizers, name=config["name"])
