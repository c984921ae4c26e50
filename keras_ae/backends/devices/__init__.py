"""Several devices as one: a batch is shared among them, and the results are those of one device. A file a backend, with
the same functions.

    start(devices)            joins the other processes, and takes so many devices; called before anything is built
    world()                   which process this is, of how many, and how many replicas of the model there are
    is_first()                whether this is the process that prints, locks and writes
    once(function)            the first process calls it; what it returns or raises is everyone's
    highest(numbers)          of each number the highest that any process gives
    is_lost(error)            whether it says that another process has ended
    replicated()              the context in which models are built and compiled
    synchronise(model, steps) makes a model's steps those of all replicas; an error where they would not be
    feed(batches)             batches of arrays -> what `fit` reads fastest
    predict(network, inputs)  what `network.predict` gives, by all devices; every process has to call it
    mine(n)                   the slice of a batch of n rows that this process provides
    total(x)                  the sum over all replicas of each one's `x`, with gradients
    gather(x)                 the rows (batch, ...) of all replicas, with gradients
    own(make, rows)           this replica's `rows` of what `make(n)` gives for the n rows of all

A replica sees its own rows of a batch on TensorFlow and on PyTorch, where a batch statistic is made of `total` and
`gather`. On JAX one program sees the whole batch, and the compiler shares it out: there the last three do nothing.
"""

import os
from typing import NamedTuple

import keras

from keras_ae.errors import InputError


class World(NamedTuple):
    """Which process this is.

    Attributes:
        process: its number, from 0.
        processes: how many there are, on all hosts.
        replicas: of the model, in all processes together.
    """

    process: int = 0
    processes: int = 1
    replicas: int = 1


def rows(process: int, processes: int, n: int) -> slice:
    """Of a batch of n rows, those of a process: as many as the others have, or one more or less."""
    return slice(process * n // processes, (process + 1) * n // processes)


def told(function, is_first: bool, from_first):
    """What a function returns or raises in the first process, in all of them.

    Args:
        from_first: gives all processes the first one's list.
    """
    result = [None, None]
    if is_first:
        try:
            result[0] = function()
        except Exception as error:
            result[1] = error
    value, error = from_first(result)
    if error is not None:
        error.is_told = not is_first
        raise error
    return value


def launched() -> bool:
    """Whether torchrun, or something that sets its variables, has started several processes."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def check_alone(several: bool) -> None:
    """Returns if a process that trains alone is the only one.

    Args:
        several: whether a launcher has started more.

    Raises:
        InputError: it is one of several.
    """
    if several:
        raise InputError(
            "a launcher has started several processes, each of which would train a model of its own; call "
            "keras_ae.backends.start() first, or leave out --devices 1"
        )


def check(model, steps: str) -> None:
    """Returns if replicas that see a part of the batch each would train one and the same model.

    Args:
        steps: of the model: "guarded" by this package, "stock" ones of Keras, or its "own".

    Raises:
        InputError: they would not.
    """
    if keras.distribution.distribution() is not None:
        raise InputError("Keras's distribution sees nothing of these steps on this backend; leave it out")
    if steps == "own":
        raise InputError(
            f"a {type(model).__name__} has steps of its own, in which each device would learn from its images alone; "
            "train it on one device, or on JAX"
        )
    for layer in model._flatten_layers():
        is_random = getattr(layer, "seed_generator", None) or getattr(layer, "generator", None)
        if isinstance(layer, keras.layers.BatchNormalization) or is_random:
            raise InputError(
                f"the layer {layer.name} would do another thing on each device; train this model on one device, "
                "or on JAX"
            )


def predicted(network, inputs, batch_size: int | None):
    """On one device. Of one batch Keras knows a shorter way."""
    if batch_size is None:
        return network.predict_on_batch(inputs)
    return network.predict(inputs, batch_size=batch_size, verbose=0)
