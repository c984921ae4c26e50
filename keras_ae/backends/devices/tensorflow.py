"""TensorFlow: `MirroredStrategy`, the devices of one host. Each replica has its rows of a batch; what one device would
sum over the batch, they reduce together."""

import contextlib
import json
import os
from functools import partial

import keras
import tensorflow as tf

from keras_ae.backends.devices import World, check, check_alone, launched, predicted
from keras_ae.backends.devices import rows as share
from keras_ae.errors import InputError

_strategy = None


def start(devices: int | None = None) -> None:
    global _strategy
    _strategy = None
    if devices == 1:
        return
    hosts = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker", [])
    if launched() or len(hosts) > 1:
        raise InputError(
            "on TensorFlow a training is one process on one host, as Keras 3 fails under MultiWorkerMirroredStrategy "
            "(keras issue 20585); take --backend torch or jax for several"
        )
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if devices and devices > len(found):
        raise InputError(f"there are {len(found)} devices; give --devices 1 to {len(found)}")
    taken = found[:devices]
    if len(taken) > 1:
        _strategy = tf.distribute.MirroredStrategy([device.name for device in taken])


def world() -> World:
    return World(replicas=_strategy.num_replicas_in_sync if _strategy else 1)


def is_first() -> bool:
    return True


def once(function):
    return function()


def highest(numbers: list[float]) -> list[float]:
    return numbers


def is_lost(error: Exception) -> bool:
    return False


def replicated():
    return _strategy.scope() if _strategy else contextlib.nullcontext()


def synchronise(model, steps: str) -> None:
    if _strategy is None:
        check_alone(launched())
        return
    check(model, steps)
    if model.distribute_strategy is not _strategy:
        raise InputError("on several devices a model is built and compiled within keras_ae.backends.replicated()")
    if getattr(model.optimizer, "gradient_accumulation_steps", None):  # Keras reduces within a condition
        raise InputError("on TensorFlow several devices accumulate no gradients; leave out gradient_accumulation_steps")
    with _strategy.scope():
        model.optimizer.build(model.trainable_variables)
    if steps == "stock":
        _share(model)


def _share(model) -> None:
    """Makes Keras's own steps those of all replicas: gradients are summed before they are clipped, and metrics, too."""
    if "apply" not in vars(model.optimizer):
        apply = model.optimizer.apply
        model.optimizer.apply = lambda gradients, variables=None: apply(total(gradients), variables)
        without_reduction(model.optimizer)
    if "train_step" in vars(model):
        return
    for name in ("train_step", "test_step"):
        setattr(model, name, partial(_shared, model, getattr(model, name)))
    model._maybe_symbolic_build = partial(_build, model)


def _build(model, iterator=None, data_batch=None) -> None:
    """Makes the metrics by the first batch of a replica. Keras would add up those of all, which may differ in size."""
    if iterator is not None:
        _, _, batches = next(iter(iterator))
        data_batch = keras.tree.map_structure(lambda x: _strategy.experimental_local_results(x)[0], next(batches))
    with _strategy.scope():
        model._symbolic_build(data_batch=data_batch)


def _shared(model, step, data):
    step(data)
    return totals(model, model.get_metrics_result)


def without_reduction(optimizer) -> None:
    """Keras sums gradients over replicas, after it has clipped each replica's own; here they are summed before."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    for each in getattr(inner, "optimizers", [inner]):
        each._all_reduce_sum_gradients = lambda pairs: pairs


def totals(model, read):
    """What `read()` makes of a model's metrics over the batches of all replicas."""
    if world().replicas == 1:
        return read()
    variables = [variable for variable in model.metrics_variables if variable.aggregation == "sum"]
    sums = total([tf.identity(variable.value) for variable in variables])
    with keras.StatelessScope(list(zip(variables, sums, strict=True))):
        return read()


def feed(batches: keras.utils.PyDataset):
    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec((len(array) if batches.same_sizes else None, *array.shape[1:]), array.dtype),
        batches[0],
    )
    if _strategy and not batches.same_sizes:
        dataset = tf.data.Dataset.from_generator(partial(_parts, batches), output_signature=signature)
        shared = _strategy.distribute_datasets_from_function(lambda _: dataset.with_options(_options()))
        shared._cardinality = batches.num_batches  # which it does not know, and Keras would warn
        return shared
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    if batches.num_batches is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches.num_batches))
    return dataset.prefetch(2).with_options(_options())


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.autotune.enabled = False  # autotune stalls for seconds now and then
    return options


def _parts(batches):
    """Each replica's rows of a batch, one replica after another, of sizes that need not divide."""
    replicas = world().replicas
    for index, batch in enumerate(batches):
        for replica in range(replicas):
            own = share(replica, replicas, batches.rows(index))
            yield keras.tree.map_structure(lambda array, own=own: array[own], batch)


def predict(network, inputs, batch_size: int | None = None):
    if _strategy and network.distribute_strategy is _strategy:  # one batch it would give to each replica whole
        batch_size = batch_size or len(keras.tree.flatten(inputs)[0])
    return predicted(network, inputs, batch_size)


def mine(n: int) -> slice:
    return slice(0, n)


def _replica():
    """The context of a replica among others; `None` outside of a step on several devices."""
    context = tf.distribute.get_replica_context()
    return context if context and context.num_replicas_in_sync > 1 else None


def total(x):
    replica = _replica()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, x) if replica else x


def gather(x):
    replica = _replica()
    return replica.all_gather(x, axis=0) if replica else x


def own(make, rows):
    replica = _replica()
    if replica is None:
        return make(rows)
    counts = replica.all_gather(tf.reshape(rows, (1,)), axis=0)
    first = tf.reduce_sum(counts[: replica.replica_id_in_sync_group])
    return make(tf.reduce_sum(counts))[first : first + rows]
