"""PyTorch: backward, eagerly."""

import keras
import torch

SLOW_CONV_TRANSPOSE = False


def feed(batches: keras.utils.PyDataset) -> keras.utils.PyDataset:
    return batches


def train_step(model, data):
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    optimizer, variables, state = model.optimizer, model.trainable_variables, model.non_trainable_variables
    before = [variable.value.clone() for variable in state]

    model.zero_grad()
    loss, vectors, z_mean = model.loss_terms(x, sample_weight, training=True)
    optimizer.scale_loss(loss).backward()
    gradients = [variable.value.grad for variable in variables]

    with torch.no_grad():
        norm = torch.nn.utils.get_total_norm([g for g in gradients if g is not None])
        finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # It lowers its scale when it sees an overflow, and then applies nothing.
            nan = 0.0 if torch.isfinite(loss) else float("nan")
            optimizer.apply([None if g is None else g + nan for g in gradients], variables)
        elif finite:
            optimizer.apply(gradients, variables)
        if finite:
            vectors = {name: vector.detach() for name, vector in vectors.items()}
            model.update_metrics(vectors, z_mean.detach(), sample_weight, training=True)
        else:
            for variable, value in zip(state, before, strict=True):
                variable.assign(value)
        model.skipped_steps.update_state(0.0 if finite else 1.0)
    return model.metric_results(training=True)


def test_step(model, data):
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    _, vectors, z_mean = model.loss_terms(x, sample_weight, training=False)
    model.update_metrics(vectors, z_mean, sample_weight, training=False)
    return model.metric_results(training=False)
