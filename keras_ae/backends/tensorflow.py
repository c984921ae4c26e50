"""TensorFlow: a gradient tape, in a graph."""

import keras
import tensorflow as tf

from keras_ae.backends.devices.tensorflow import total, totals, without_reduction, world


def on_device(images, labels, rows):
    return None  # tf.data runs on the host; it has the next two batches ready there


def tune_gpu() -> None:
    """Nothing: TensorFloat-32 and autotuned convolutions are this backend's defaults."""


def has_bfloat16() -> bool:
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return bool(capabilities) and min(capabilities) >= (8, 0)


def conv2d(x, kernel, bias, strides, padding):
    return None  # oneDNN's are the fastest known


def depthwise_conv2d(x, kernel, bias, strides, padding):
    return None


def conv2d_transpose(x, kernel, bias, strides, padding):
    return None


def call(network, inputs, training):
    return network(inputs, training=training)


def traced_losses(model) -> None:
    """None: the whole step is compiled."""


def speed_up(optimizer) -> None:
    """Nothing: the optimizer's update is compiled."""


def train_step(model, data):
    if world().replicas > 1:
        return _shared_train_step(model, data)
    x, y, sample_weight = model.unpack(data)
    optimizer, state = model.optimizer, model.non_trainable_variables
    before = [tf.identity(variable) for variable in state]

    groups = model.variables_by_loss()
    with tf.GradientTape(persistent=len(groups) > 1) as tape:
        step = model.loss_terms(x, y, sample_weight, training=True)
        scaled = [optimizer.scale_loss(loss) for loss in step.losses]
    gradients = []
    for loss, variables in zip(scaled, groups, strict=True):
        gradients += [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
    variables = [variable for group in groups for variable in group]
    finite_loss = tf.reduce_all(tf.math.is_finite(tf.stack(step.losses)))
    finite = tf.reduce_all([finite_loss, *(tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None)])

    def accept():
        if not has_loss_scale:
            optimizer.apply(gradients, variables)
        model.update_metrics(step, sample_weight, training=True)

    def reject():
        for variable, value in zip(state, before, strict=True):
            variable.assign(value)

    has_loss_scale = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if has_loss_scale:  # it lowers its scale when it sees an overflow, and then applies nothing
        nan = tf.where(finite_loss, 0.0, float("nan"))
        optimizer.apply([None if g is None else g + tf.cast(nan, g.dtype) for g in gradients], variables)
    norm = model.gradient_norm(gradients, variables)
    accepted = model.accepts(finite, norm)
    tf.cond(accepted, accept, reject)
    model.count_step(accepted, norm)
    return model.metric_results(training=True)


def _shared_train_step(model, data):
    """Of one replica among several: gradients and losses are means over all, so that all judge the step alike. As no
    replica may wait for another within a condition, everything is computed, and put back where the step is skipped."""
    x, y, sample_weight = model.unpack(data)
    optimizer, replicas = model.optimizer, world().replicas
    without_reduction(optimizer)
    groups = model.variables_by_loss()
    variables = [variable for group in groups for variable in group]
    has_loss_scale = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    state = [*model.non_trainable_variables, *model.metrics_variables]
    if not has_loss_scale:
        state += [*variables, *optimizer.variables]
    before = [tf.identity(variable.value) for variable in state]

    with tf.GradientTape(persistent=len(groups) > 1) as tape:
        step = model.loss_terms(x, y, sample_weight, training=True)
        scaled = [optimizer.scale_loss(loss) / replicas for loss in step.losses]
    gradients = []
    for loss, group in zip(scaled, groups, strict=True):
        gradients += [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(loss, group)]
    present = [g for g in gradients if g is not None]
    *summed, losses = total([*present, tf.stack(step.losses)])
    summed_of = iter(summed)
    gradients = [None if g is None else next(summed_of) for g in gradients]
    finite_loss = tf.reduce_all(tf.math.is_finite(losses))
    finite = tf.reduce_all([finite_loss, *(tf.reduce_all(tf.math.is_finite(g)) for g in summed)])
    norm = model.gradient_norm(gradients, variables)
    accepted = model.accepts(finite, norm)
    if has_loss_scale:  # it lowers its scale when it sees an overflow, and then applies nothing
        nan = tf.where(finite_loss, 0.0, float("nan"))
        applied = [None if g is None else g + tf.cast(nan, g.dtype) for g in gradients]
    else:
        applied = [None if g is None else tf.where(accepted, g, tf.zeros_like(g)) for g in gradients]
    optimizer.apply(applied, variables)
    model.update_metrics(step, sample_weight, training=True)
    for variable, old in zip(state, before, strict=True):
        variable.assign(tf.where(accepted, variable.value, old))
    model.count_step(accepted, norm)
    return totals(model, lambda: model.metric_results(training=True))


def test_step(model, data):
    x, y, sample_weight = model.unpack(data)
    step = model.loss_terms(x, y, sample_weight, training=False)
    model.update_metrics(step, sample_weight, training=False)
    return totals(model, lambda: model.metric_results(training=False))
