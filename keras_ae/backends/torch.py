"""PyTorch: backward, eagerly."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import keras
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from keras import layers
from keras.src.backend.common.variables import AutocastScope
from keras.src.models.functional import Functional

from keras_ae.backends._torch_trace import TracedLosses
from keras_ae.backends.devices.torch import add_up, mean, world

PLAIN = {
    layers.InputLayer,
    layers.Dense,
    layers.Activation,
    layers.Flatten,
    layers.Reshape,
    layers.Cropping2D,
    layers.UpSampling2D,
    layers.Add,
    layers.Multiply,
    layers.Concatenate,
}


def on_device(images, labels, rows):
    if not torch.cuda.is_available():
        return partial(_in_memory, images, labels, rows)
    if images[0].nbytes * len(rows) > torch.cuda.mem_get_info()[0] / 4:
        return None
    return _resident(images[rows], labels[rows], "cuda")


def _in_memory(images, labels, rows, places, mirrored):
    """A batch, made by all threads that the step has. A thread of its own would take a core from them meanwhile."""
    rows = rows[places]
    image = torch.from_numpy(images[rows]).to(torch.float32).mul_(1 / 255)
    if mirrored.any():
        image[mirrored] = image[mirrored].flip(2)
    return {"image": image, "label": torch.from_numpy(labels[rows])}


def _resident(images, labels, device="cpu"):
    """Function of rows and of which of them are mirrored -> a batch, made where the arrays are."""
    images, labels = (torch.tensor(array, device=device) for array in (images, labels))

    def batch(rows, mirrored):
        rows, mirrored = (torch.tensor(array, device=images.device) for array in (rows, mirrored))
        image = images[rows].to(torch.float32) * (1 / 255)
        return {"image": torch.where(mirrored[:, None, None, None], image.flip(2), image), "label": labels[rows]}

    return batch


def tune_gpu() -> None:
    torch.set_float32_matmul_precision("high")  # TensorFloat-32; convolutions have it anyway
    torch.backends.cudnn.benchmark = True


def has_bfloat16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.get_device_capability() >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def conv2d(x, kernel, bias, strides, padding):
    """On channels-last views, where Keras copies the images into that order and back."""
    if x.device.type != "cpu":
        return None
    total = _padding(x, kernel, strides) if padding == "same" else [0, 0]
    if any(pixels % 2 for pixels in total):  # more on one side than on the other
        return None
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    outputs = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, strides, [pixels // 2 for pixels in total])
    return outputs.permute(0, 2, 3, 1)


def depthwise_conv2d(x, kernel, bias, strides, padding):
    """The same."""
    if x.device.type != "cpu" or kernel.shape[3] != 1:
        return None
    total = _padding(x, kernel, strides) if padding == "same" else [0, 0]
    before = [pixels // 2 for pixels in total]
    if any(pixels % 2 for pixels in total):  # more on one side than on the other
        (top, left), (rows, columns) = before, total
        x = F.pad(x, (0, 0, left, columns - left, top, rows - top))
        before = [0, 0]
    kernel = kernel.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)
    outputs = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, strides, before, groups=kernel.shape[0])
    return outputs.permute(0, 2, 3, 1)


def _padding(x, kernel, strides) -> list[int]:
    """Rows and columns that "same" adds."""
    return [
        max((-(-side // stride) - 1) * stride + size - side, 0)
        for side, stride, size in zip(x.shape[1:3], strides, kernel.shape[:2], strict=True)
    ]


def conv2d_transpose(x, kernel, bias, strides, padding):
    """The same."""
    overlap = [size - stride for size, stride in zip(kernel.shape[:2], strides, strict=True)]
    if x.device.type != "cpu" or min(overlap) < 0 or (padding == "same" and any(pixels % 2 for pixels in overlap)):
        return None
    cut = [pixels // 2 for pixels in overlap] if padding == "same" else [0, 0]
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return F.conv_transpose2d(x.permute(0, 3, 1, 2), kernel, bias, strides, cut).permute(0, 2, 3, 1)


def call(network, inputs, training):
    """Where all layers are plain, without what Keras does around each layer's `call`, which takes longer than it."""
    if not _is_plain(network):
        return network(inputs, training=training)
    network._assert_input_compatibility(inputs)
    outputs = network._run_through_graph(network._standardize_inputs(inputs), lambda layer: partial(_call, layer))
    return outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs


def _is_plain(network) -> bool:
    """Whether no layer masks, draws, adds a loss or is watched by a hook. A class of ours that does not says so."""
    return type(network) is Functional and all(
        (type(layer) in PLAIN or "is_plain" in vars(type(layer)))
        and not (layer.activity_regularizer or layer._forward_hooks or layer._forward_pre_hooks)
        and not (layer.quantization_mode or layer._remat_mode)
        for layer in network.layers
    )


def _call(layer, inputs):
    def converted(x):
        return layer.dtype_policy.convert_input(x, layer.autocast, layer.input_dtype)

    inputs = [converted(x) for x in inputs] if isinstance(inputs, list) else converted(inputs)
    is_mixed = layer.compute_dtype != layer.variable_dtype
    with AutocastScope(layer.compute_dtype) if is_mixed else nullcontext():
        return layer.call(inputs)


def traced_losses(model) -> TracedLosses | None:
    return TracedLosses(model) if world().replicas == 1 else None  # what processes say to one another is no operation


def speed_up(optimizer) -> None:
    for each in getattr(optimizer, "optimizers", [optimizer]):
        # A subclass with an update of its own has no `_parallel_update_step`.
        if isinstance(each, keras.optimizers.Adam) and hasattr(each, "_parallel_update_step") and not each.amsgrad:
            each._parallel_update_step = partial(_adam, each)


def _adam(optimizer, gradients, variables, learning_rate):
    """One pass over the weights, where Keras makes nine."""
    values = [variable.value for variable in variables]
    # The fused update takes all for rows of memory, and the rate for a number of Python's.
    if values[0].device.type != "cpu" or not all(value.is_contiguous() for value in values):
        type(optimizer)._parallel_update_step(optimizer, gradients, variables, learning_rate)
        return
    places = [optimizer._get_variable_index(variable) for variable in variables]
    moments = [[kept[place].value for place in places] for kept in (optimizer._momentums, optimizer._velocities)]
    step = int(optimizer.iterations) + 1
    torch._fused_adam_(
        values,
        [gradient.contiguous() for gradient in gradients],
        *moments,
        [],
        [torch.tensor(float(step))] * len(values),
        lr=float(learning_rate),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        eps=optimizer.epsilon / (1 - optimizer.beta_2**step) ** 0.5,  # which Keras adds before it corrects the bias
        weight_decay=0.0,  # Keras has applied it
        amsgrad=False,
        maximize=False,
    )


def train_step(model, data):
    x, y, sample_weight = model.unpack(data)
    optimizer, variables, state = model.optimizer, model.trainable_variables, model.non_trainable_variables
    before = [variable.value.clone() for variable in state]

    for variable in variables:  # `zero_grad` knows one of those that have the same path
        variable.value.grad = None
    loss_terms = model.traced_losses or partial(model.loss_terms, training=True)
    step = loss_terms(x, y, sample_weight)
    groups = model.variables_by_loss()
    for number, (loss, group) in enumerate(zip(step.losses, groups, strict=True), 1):
        inputs = [variable.value for variable in group]
        optimizer.scale_loss(loss).backward(inputs=inputs, retain_graph=number < len(groups))
    gradients = [variable.value.grad for variable in variables]

    with torch.no_grad():
        # All processes judge the same step alike: one that skipped it alone would drift, or wait for ever.
        *gradients, losses = mean([*gradients, torch.stack(step.losses).detach()])
        finite_loss = torch.isfinite(losses).all()
        finite = finite_loss & _all_finite([gradient for gradient in gradients if gradient is not None])
        updated = model.metrics_variables
        has_loss_scale = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if has_loss_scale:  # it lowers its scale when it sees an overflow, and then applies nothing
            nan = torch.where(finite_loss, 0.0, float("nan"))
            optimizer.apply([None if g is None else g + nan for g in gradients], variables)
        else:
            updated = [*updated, *variables, *optimizer.variables]

        def update():
            if not has_loss_scale:
                optimizer.apply(gradients, variables)
            add_up(model, lambda: model.update_metrics(_detached(step), sample_weight, training=True))

        norm = model.gradient_norm(gradients, variables)
        accepted = model.accepts(finite, norm)
        if _waits(accepted):
            _update_or_restore(accepted, update, updated, state, before)
        elif accepted:
            update()
        else:
            _restore(state, before)
        model.count_step(accepted, norm)
    return model.metric_results(training=True)


def _all_finite(tensors):
    """Whether all are: the test of PyTorch's own `GradScaler`, one pass over all, which leaves them as they are."""
    one = torch.ones(1, device=tensors[0].device)
    found = torch.zeros_like(one)
    torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, one)
    return found[0] == 0


def _waits(tensor) -> bool:
    """Whether Python waits for a device to know the tensor's value."""
    return tensor.device.type != "cpu"


def _update_or_restore(finite, update, updated, state, before) -> None:
    """Computes both and keeps one, so that Python never asks which."""
    state, before = [*state, *updated], [*before, *(variable.value.clone() for variable in updated)]
    update()
    _restore(state, [torch.where(finite, variable.value, old) for variable, old in zip(state, before, strict=True)])


def _restore(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _detached(step):
    return keras.tree.map_structure(lambda x: x.detach() if torch.is_tensor(x) else x, step)


def test_step(model, data):
    x, y, sample_weight = model.unpack(data)
    step = model.loss_terms(x, y, sample_weight, training=False)
    add_up(model, lambda: model.update_metrics(step, sample_weight, training=False))
    return model.metric_results(training=False)
