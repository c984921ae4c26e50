"""JAX: pure functions of the variables' values."""

import jax
import jax.numpy as jnp
import keras

SLOW_CONV_TRANSPOSE = jax.default_backend() == "cpu"  # jax issue 23783


def feed(batches: keras.utils.PyDataset) -> keras.utils.PyDataset:
    return batches


def train_step(model, state, data):
    trainable, non_trainable, optimizer_state, metrics = state
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    optimizer = model.optimizer

    def scaled_loss(trainable):
        values = [
            *zip(model.trainable_variables, trainable, strict=True),
            *zip(model.non_trainable_variables, non_trainable, strict=True),
            *zip(optimizer.variables, optimizer_state, strict=True),
        ]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            loss, vectors, z_mean = model.loss_terms(x, sample_weight, training=True)
            scaled = optimizer.scale_loss(loss)
        updated = [scope.get_current_value(variable) for variable in model.non_trainable_variables]
        return scaled, (loss, vectors, z_mean, updated)

    (_, (loss, vectors, z_mean, new_non_trainable)), gradients = jax.value_and_grad(scaled_loss, has_aux=True)(
        trainable
    )
    finite = jnp.isfinite(loss) & jnp.stack([jnp.isfinite(g).all() for g in gradients]).all()

    def chosen(new, old):
        return [jnp.where(finite, n, o) for n, o in zip(new, old, strict=True)]

    has_loss_scale = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if has_loss_scale:
        gradients = [jnp.where(jnp.isfinite(loss), g, jnp.nan) for g in gradients]
    new_trainable, new_optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trainable)
    if not has_loss_scale:  # which lowers its scale when it sees an overflow, and then applies nothing
        new_trainable = chosen(new_trainable, trainable)
        new_optimizer_state = chosen(new_optimizer_state, optimizer_state)

    with _metrics_scope(model, metrics) as scope:
        model.update_metrics(vectors, z_mean, sample_weight, training=True)
    metrics = chosen(_metrics_values(model, scope), metrics)
    with _metrics_scope(model, metrics) as scope:
        model.skipped_steps.update_state(1.0 - finite.astype("float32"))
        logs = model.metric_results(training=True)
    new_non_trainable = chosen(new_non_trainable, non_trainable)
    return logs, (new_trainable, new_non_trainable, new_optimizer_state, _metrics_values(model, scope))


def test_step(model, state, data):
    trainable, non_trainable, metrics = state
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    values = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, non_trainable, strict=True),
        *zip(model.metrics_variables, metrics, strict=True),
    ]
    with keras.StatelessScope(values, collect_losses=True) as scope:
        _, vectors, z_mean = model.loss_terms(x, sample_weight, training=False)
        model.update_metrics(vectors, z_mean, sample_weight, training=False)
        logs = model.metric_results(training=False)
    non_trainable = [scope.get_current_value(variable) for variable in model.non_trainable_variables]
    return logs, (trainable, non_trainable, _metrics_values(model, scope))


def _metrics_scope(model, values):
    return keras.StatelessScope(list(zip(model.metrics_variables, values, strict=True)))


def _metrics_values(model, scope):
    return [scope.get_current_value(variable) for variable in model.metrics_variables]
