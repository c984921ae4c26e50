"""TensorFlow: a gradient tape, in a graph."""

import keras
import tensorflow as tf


def feed(batches: keras.utils.PyDataset) -> tf.data.Dataset:
    endless = batches.num_batches is None
    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec((len(array) if endless else None, *array.shape[1:]), array.dtype), batches[0]
    )
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    if not endless:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches.num_batches))
    options = tf.data.Options()
    options.autotune.enabled = False  # autotune stalls for seconds now and then
    return dataset.prefetch(2).with_options(options)


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


def conv2d_transpose(x, kernel, bias, strides, padding):
    return None


def train_step(model, data):
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    optimizer, variables, state = model.optimizer, model.trainable_variables, model.non_trainable_variables
    before = [tf.identity(variable) for variable in state]

    with tf.GradientTape() as tape:
        loss, vectors, z_mean = model.loss_terms(x, sample_weight, training=True)
        scaled_loss = optimizer.scale_loss(loss)
    gradients = [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(scaled_loss, variables)]
    finite = tf.reduce_all(
        [tf.math.is_finite(loss), *(tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None)]
    )

    def accept():
        if not has_loss_scale:
            optimizer.apply(gradients, variables)
        model.update_metrics(vectors, z_mean, sample_weight, training=True)

    def reject():
        for variable, value in zip(state, before, strict=True):
            variable.assign(value)

    has_loss_scale = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if has_loss_scale:  # it lowers its scale when it sees an overflow, and then applies nothing
        nan = tf.where(tf.math.is_finite(loss), 0.0, float("nan"))
        optimizer.apply([None if g is None else g + tf.cast(nan, g.dtype) for g in gradients], variables)
    tf.cond(finite, accept, reject)
    model.skipped_steps.update_state(1.0 - tf.cast(finite, "float32"))
    return model.metric_results(training=True)


def test_step(model, data):
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    _, vectors, z_mean = model.loss_terms(x, sample_weight, training=False)
    model.update_metrics(vectors, z_mean, sample_weight, training=False)
    return model.metric_results(training=False)
