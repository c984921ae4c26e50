"""TensorFlow: `MirroredStrategy`, the devices of one host."""

import contextlib
import json
import os

import keras
import tensorflow as tf

from keras_ae.backends.devices import World, check, rows
from keras_ae.errors import InputError

_strategy = None


def start(devices: int | None = None) -> None:
    global _strategy
    hosts = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker", [])
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 or len(hosts) > 1:
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


def replicated():
    return _strategy.scope() if _strategy else contextlib.nullcontext()


def synchronise(model, steps: str) -> None:
    if _strategy is None:
        return
    check(model, steps)


def feed(batches: keras.utils.PyDataset):
    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec((len(array) if batches.same_sizes else None, *array.shape[1:]), array.dtype),
        batches[0],
    )
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    if batches.num_batches is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches.num_batches))
    options = tf.data.Options()
    options.autotune.enabled = False  # autotune stalls for seconds now and then
    return dataset.prefetch(2).with_options(options)


def mine(n: int) -> slice:
    return slice(0, n)


def total(x):
    return x


def gather(x):
    return x


def own(make, rows):
    return make(rows)
