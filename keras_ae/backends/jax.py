"""JAX: pure functions of the variables' values."""

import functools

import jax
import jax.numpy as jnp
import keras


@functools.cache
def _on_cpu() -> bool:
    """Asked late: to ask initialises JAX, after which `jax.distributed.initialize` is refused."""
    return jax.default_backend() == "cpu"


def feed(batches: keras.utils.PyDataset) -> keras.utils.PyDataset:
    return batches


def on_device(images, labels, rows):
    memory = jax.devices()[0].memory_stats()  # None on a CPU
    if not memory or images[0].nbytes * len(rows) > (memory["bytes_limit"] - memory["bytes_in_use"]) / 4:
        return None
    return _resident(images[rows], labels[rows])


def _resident(images, labels):
    """Function of rows and of which of them are mirrored -> a batch, made where the arrays are."""
    held = jax.device_put((images, labels))

    @jax.jit
    def batch(images, labels, rows, mirrored):
        image = images[rows].astype("float32") * (1 / 255)
        image = jnp.where(mirrored[:, None, None, None], image[:, :, ::-1], image)
        return {"image": image, "label": labels[rows]}

    return lambda rows, mirrored: batch(*held, rows, mirrored)


def tune_gpu() -> None:
    """Nothing: TensorFloat-32 and autotuned convolutions are this backend's defaults."""


def has_bfloat16() -> bool:
    device = jax.devices()[0]
    return device.platform == "tpu" or (device.platform == "gpu" and float(device.compute_capability) >= 8)


def conv2d(x, kernel, bias, strides, padding):
    """With the kernel's gradient as matrix products, where XLA's own is slow on a CPU. Reverse mode only."""
    if not _on_cpu() or kernel.shape[-1] < 16:  # where the stock gradient is as fast or faster
        return None
    outputs = _conv2d(x, kernel, tuple(strides), padding.upper())
    return outputs if bias is None else outputs + bias


def _stock(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


_conv2d = jax.custom_vjp(_stock, nondiff_argnums=(2, 3))


def _conv2d_forward(x, kernel, strides, padding):
    return _stock(x, kernel, strides, padding), (x, kernel)


def _conv2d_backward(strides, padding, saved, gradient):
    x, kernel = saved
    _, pull = jax.vjp(lambda x: _stock(x, kernel, strides, padding), x)
    size, (rows, columns) = kernel.shape[:2], gradient.shape[1:3]
    margins = jax.lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    padded = jnp.pad(x, [(0, 0), *margins, (0, 0)])
    flat = gradient.reshape(-1, kernel.shape[-1])
    # One product for each place in the kernel: all at once would copy the input as often.
    products = [
        jnp.matmul(
            padded[:, i : i + rows * strides[0] : strides[0], j : j + columns * strides[1] : strides[1]]
            .reshape(-1, kernel.shape[2])
            .T,
            flat,
            preferred_element_type=jnp.promote_types(kernel.dtype, "float32"),
        )
        for i in range(size[0])
        for j in range(size[1])
    ]
    return *pull(gradient), jnp.stack(products).reshape(kernel.shape).astype(kernel.dtype)


_conv2d.defvjp(_conv2d_forward, _conv2d_backward)


def conv2d_transpose(x, kernel, bias, strides, padding):
    """As one matrix product and an overlap-add on a CPU: there the gradient of the stock operation falls back to a
    naive loop (jax issue 23783)."""
    size, stride = kernel.shape[0], strides[0]
    if not _on_cpu() or strides[0] != strides[1] or kernel.shape[0] != kernel.shape[1]:
        return None
    outputs = _overlap_add(x, kernel, stride)
    height, width = (side * stride for side in x.shape[1:3])
    top = 0
    if padding == "same":
        top = max(size - stride, 0) // 2
    else:
        height, width = height + max(size - stride, 0), width + max(size - stride, 0)
    outputs = outputs[:, top : top + height, top : top + width]
    return outputs if bias is None else outputs + bias


def _overlap_add(x, kernel, stride):
    """Transposed convolution of x (batch, h, w, in) with kernel (k, k, out, in), whole and rounded up to strides.

    Every input pixel becomes a patch of k x k outputs; patches stand `stride` apart and are added
    where they overlap. With k padded to `blocks` x stride, this is a sum of `blocks` x `blocks`
    shifted grids of stride-sized tiles, put together by one reshape.
    """
    batch, height, width = x.shape[:3]
    size, out_channels, in_channels = kernel.shape[1:]
    blocks = -(-size // stride)
    kernel = jnp.pad(kernel, [(0, blocks * stride - size)] * 2 + [(0, 0)] * 2)
    kernel = kernel.reshape(blocks, stride, blocks, stride * out_channels, in_channels)
    # columns ordered (block row, block column, row in tile, column in tile, channel)
    kernel = kernel.transpose(4, 0, 2, 1, 3).reshape(in_channels, -1)
    tiles = (x.reshape(-1, in_channels) @ kernel).reshape(
        batch, height, width, blocks, blocks, stride * stride * out_channels
    )
    rows, columns = height + blocks - 1, width + blocks - 1
    grid = sum(
        jnp.pad(tiles[:, :, :, i, j], [(0, 0), (i, blocks - 1 - i), (j, blocks - 1 - j), (0, 0)])
        for i in range(blocks)
        for j in range(blocks)
    )
    grid = grid.reshape(batch, rows, columns, stride, stride, out_channels).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(batch, rows * stride, columns * stride, out_channels)


def total(x):
    """The sum over all devices of each device's `x`."""
    return x


def gather(x):
    """The rows (batch, ...) of all devices, with gradients."""
    return x


def call(network, inputs, training):
    return network(inputs, training=training)


def traced_losses(model) -> None:
    """None: the whole step is compiled."""


def speed_up(optimizer) -> None:
    """Nothing: the optimizer's update is compiled."""


def train_step(model, state, data):
    trainable, non_trainable, optimizer_state, metrics = state
    x, y, sample_weight = model.unpack(data)
    optimizer = model.optimizer

    def scaled_losses(trainable):
        values = [
            *zip(model.trainable_variables, trainable, strict=True),
            *zip(model.non_trainable_variables, non_trainable, strict=True),
            *zip(optimizer.variables, optimizer_state, strict=True),
        ]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            step = model.loss_terms(x, y, sample_weight, training=True)
            scaled = [optimizer.scale_loss(loss) for loss in step.losses]
        updated = [scope.get_current_value(variable) for variable in model.non_trainable_variables]
        return scaled, (step, updated)

    scaled, pull, (step, new_non_trainable) = jax.vjp(scaled_losses, trainable, has_aux=True)
    gradients = _gradients(model, scaled, pull)
    finite_loss = jnp.isfinite(jnp.stack(step.losses)).all()
    finite = finite_loss & jnp.stack([jnp.isfinite(gradient).all() for gradient in gradients]).all()

    def chosen(new, old):
        return [jnp.where(finite, n, o) for n, o in zip(new, old, strict=True)]

    has_loss_scale = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if has_loss_scale:
        gradients = [jnp.where(finite_loss, gradient, jnp.nan) for gradient in gradients]
    new_trainable, new_optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
    if not has_loss_scale:  # which lowers its scale when it sees an overflow, and then applies nothing
        new_trainable = chosen(new_trainable, trainable)
        new_optimizer_state = chosen(new_optimizer_state, optimizer_state)

    with _metrics_scope(model, metrics) as scope:
        model.update_metrics(step, sample_weight, training=True)
    metrics = chosen(_metrics_values(model, scope), metrics)
    with _metrics_scope(model, metrics) as scope:
        model.skipped_steps.update_state(~finite)
        logs = model.metric_results(training=True)
    new_non_trainable = chosen(new_non_trainable, non_trainable)
    return logs, (new_trainable, new_non_trainable, new_optimizer_state, _metrics_values(model, scope))


def _gradients(model, losses, pull) -> list:
    """Of each loss with respect to its own variables, in the order of the model's."""
    gradients = {}
    for number, variables in enumerate(model.variables_by_loss()):
        direction = [jnp.full_like(loss, float(number == other)) for other, loss in enumerate(losses)]
        (pulled,) = pull(direction)
        every = dict(zip(map(id, model.trainable_variables), pulled, strict=True))
        gradients |= {id(variable): every[id(variable)] for variable in variables}
    return [gradients[id(variable)] for variable in model.trainable_variables]


def test_step(model, state, data):
    trainable, non_trainable, metrics = state
    x, y, sample_weight = model.unpack(data)
    values = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, non_trainable, strict=True),
        *zip(model.metrics_variables, metrics, strict=True),
    ]
    with keras.StatelessScope(values, collect_losses=True) as scope:
        step = model.loss_terms(x, y, sample_weight, training=False)
        model.update_metrics(step, sample_weight, training=False)
        logs = model.metric_results(training=False)
    non_trainable = [scope.get_current_value(variable) for variable in model.non_trainable_variables]
    return logs, (trainable, non_trainable, _metrics_values(model, scope))


def _metrics_scope(model, values):
    return keras.StatelessScope(list(zip(model.metrics_variables, values, strict=True)))


def _metrics_values(model, scope):
    return [scope.get_current_value(variable) for variable in model.metrics_variables]
