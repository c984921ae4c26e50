"""JAX: pure functions of the variables' values."""

import functools

import jax
import jax.numpy as jnp
import keras

from keras_ae.backends.devices.jax import world

THIN = 4  # channels of an image, of which the stock convolution takes more than twice the time


@functools.cache
def _on_cpu() -> bool:
    """Asked late: to ask initialises JAX, after which `jax.distributed.initialize` is refused."""
    return jax.default_backend() == "cpu"


MOST_PLACES = 49  # of a kernel that is taken apart


def on_device(images, labels, rows):
    if world().replicas > 1:
        return None
    memory = jax.local_devices()[0].memory_stats()  # None on a CPU
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
    device = jax.local_devices()[0]
    return device.platform == "tpu" or (device.platform == "gpu" and float(device.compute_capability) >= 8)


def conv2d(x, kernel, bias, strides, padding):
    """With the gradient of the input as `conv2d_transpose` makes it. Reverse mode only."""
    if not _is_square(kernel, strides):
        return None
    outputs = _conv2d(x, kernel, strides[0], padding.upper())
    return outputs if bias is None else outputs + bias


def conv2d_transpose(x, kernel, bias, strides, padding):
    """As one convolution with stride 1 on a CPU: there XLA's own falls back to a naive loop for many shapes (jax issue
    23783). Reverse mode only."""
    if not _is_square(kernel, strides):
        return None
    stride = strides[0]
    over = max(kernel.shape[0] - stride, 0) if padding == "valid" else 0
    height, width = (side * stride + over for side in x.shape[1:3])
    outputs = _conv2d_transpose(x, kernel, stride, padding.upper(), (height, width))
    return outputs if bias is None else outputs + bias


def depthwise_conv2d(x, kernel, bias, strides, padding):
    """As a sum over the kernel's places: XLA's own takes ten times as long on a CPU."""
    if not _on_cpu() or kernel.shape[3] != 1 or kernel.shape[0] * kernel.shape[1] > MOST_PLACES:
        return None
    pads = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding.upper())
    x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
    rows, columns = strides
    height = (x.shape[1] - kernel.shape[0]) // rows + 1
    width = (x.shape[2] - kernel.shape[1]) // columns + 1
    outputs = sum(
        x[:, i : i + rows * (height - 1) + 1 : rows, j : j + columns * (width - 1) + 1 : columns] * kernel[i, j, :, 0]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )
    return outputs if bias is None else outputs + bias


def _is_square(kernel, strides) -> bool:
    """Whether these are for it: kernels and strides that are squares, on a CPU."""
    return _on_cpu() and strides[0] == strides[1] and kernel.shape[0] == kernel.shape[1]


def _stock(x, kernel, stride, padding):
    strides, order = (stride, stride), ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=order)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv2d(x, kernel, stride, padding):
    """As one matrix product where an image has few channels."""
    if stride == 1 or kernel.shape[2] > THIN:
        return _stock(x, kernel, stride, padding)
    return _patches(x, kernel.shape[0], stride, padding) @ kernel.reshape(-1, kernel.shape[3])


def _patches(x, size, stride, padding):
    """What a kernel sees at each of its places: (batch, rows, columns, size x size x in)."""
    margins = jax.lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), padding)
    rows, columns = (
        (side + sum(margin) - size) // stride + 1 for side, margin in zip(x.shape[1:3], margins, strict=True)
    )
    sides = [(places - 1) * stride + size for places in (rows, columns)]
    x = _moved(x, [low for low, _ in margins], sides)
    seen = [
        x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(seen, axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv2d_transpose(x, kernel, stride, padding, sides):
    """The transpose of `_conv2d` for images of these sides: x (batch, h, w, in), kernel (k, k, out, in)
    -> (batch, *sides, out).

    A tile of stride x stride outputs is a sum over the inputs that reach it, so that a convolution with stride 1 gives
    all pixels of the tiles, and a reshape puts them in place.
    """
    kernel_sides, channels = kernel.shape[:2], kernel.shape[2]
    kernel = _in_tiles(kernel, stride)
    around = kernel.shape[0] - 1
    tiles = _stock(x, kernel[::-1, ::-1].swapaxes(2, 3), 1, ((around, around), (around, around)))
    batch, rows, columns = tiles.shape[:3]
    tiles = tiles.reshape(batch, rows, columns, stride, stride, channels).transpose(0, 1, 3, 2, 4, 5)
    whole = tiles.reshape(batch, rows * stride, columns * stride, channels)
    margins = jax.lax.padtype_to_pads(sides, kernel_sides, (stride, stride), padding)
    return _moved(whole, [-low for low, _ in margins], sides)


def _in_tiles(kernel, stride):
    """(k, k, in, out) -> (blocks, blocks, stride x stride x in, out), of zeros where k is no multiple of the stride."""
    size, _, in_channels, out_channels = kernel.shape
    blocks = -(-size // stride)
    kernel = jnp.pad(kernel, [(0, blocks * stride - size)] * 2 + [(0, 0)] * 2)
    kernel = kernel.reshape(blocks, stride, blocks, stride, in_channels, out_channels)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(blocks, blocks, -1, out_channels)


def _moved(images, margins, sides):
    """Images with so many rows and columns of zeros before them, or fewer than they have, and then of these sides."""
    added = [(low, side - have - low, 0) for low, side, have in zip(margins, sides, images.shape[1:3], strict=True)]
    return jax.lax.pad(images, jnp.zeros((), images.dtype), [(0, 0, 0), *added, (0, 0, 0)])


def _conv2d_backward(stride, padding, saved, gradient):
    x, kernel = saved
    back = _conv2d_transpose(gradient, kernel, stride, padding, x.shape[1:3])
    return back, _kernel_gradient(x, kernel, stride, padding, gradient)


def _conv2d_transpose_backward(stride, padding, sides, saved, gradient):
    x, kernel = saved
    back = _conv2d(gradient, kernel, stride, padding)
    return back, _kernel_gradient(gradient, kernel, stride, padding, x)


def _kernel_gradient(image, kernel, stride, padding, gradient):
    """Of `_conv2d` of the image, and of its transpose to the image."""
    return jax.vjp(lambda kernel: _stock(image, kernel, stride, padding), kernel)[1](gradient)[0]


_conv2d.defvjp(lambda x, kernel, *settings: (_conv2d(x, kernel, *settings), (x, kernel)), _conv2d_backward)
_conv2d_transpose.defvjp(
    lambda x, kernel, *settings: (_conv2d_transpose(x, kernel, *settings), (x, kernel)), _conv2d_transpose_backward
)


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
    norm = model.gradient_norm(gradients, model.trainable_variables)
    accepted = model.accepts(finite, norm)

    def chosen(new, old):
        return [jnp.where(accepted, n, o) for n, o in zip(new, old, strict=True)]

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
        model.count_step(accepted, norm)
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
