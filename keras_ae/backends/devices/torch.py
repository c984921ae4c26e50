"""PyTorch: a process for each device, which torchrun starts. Each has its rows of a batch; what one device would sum
over the batch, they reduce together."""

import atexit
import contextlib
import functools
import os
import weakref

import keras
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import distributed

from keras_ae.backends.devices import World, check, check_alone, launched, predicted, rows, told
from keras_ae.errors import InputError

CPU = torch.device("cpu")
_synchronised = weakref.WeakSet()  # models whose steps are those of all processes


def start(devices: int | None = None) -> None:
    if devices == 1:
        return
    if devices:
        raise InputError(
            "torch has a process for each device: leave out --devices, and start with "
            "torchrun --nproc-per-node N instead of python"
        )
    if not launched() or distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        distributed.init_process_group("gloo")
    atexit.register(distributed.destroy_process_group)
    keras.Model.fit = _together(keras.Model.fit)


def _together(fit):
    """Keras's `fit`, which knows of no other process, as the `fit` of all, or an error."""
    stock = keras.Model.train_step

    @functools.wraps(fit)
    def of_all(model, *args, **kwargs):
        if model.compiled and model not in _synchronised:  # what is not compiled Keras refuses
            if not model.built:
                raise InputError("each process would begin with weights of its own; build the model before its fit")
            synchronise(model, "stock" if type(model).train_step is stock else "own")
        return fit(model, *args, **kwargs)

    return of_all


def world() -> World:
    if not distributed.is_initialized():
        return World()
    processes = distributed.get_world_size()
    return World(distributed.get_rank(), processes, processes)


def is_first() -> bool:
    return world().process == 0


def once(function):
    if world().processes == 1:
        return function()
    return told(function, is_first(), _from_first)


def _from_first(content: list) -> list:
    distributed.broadcast_object_list(content, device=CPU)
    return content


def highest(numbers: list[float]) -> list[float]:
    if world().processes == 1:
        return numbers
    highest = torch.tensor(numbers, dtype=torch.float64)
    distributed.all_reduce(highest, distributed.ReduceOp.MAX)
    return highest.tolist()


def is_lost(error: Exception) -> bool:
    said = any(words in str(error) for words in ("closed by peer", "reset by peer", "Broken pipe"))
    return isinstance(error, distributed.DistBackendError) or (isinstance(error, RuntimeError) and said)


def replicated():
    return contextlib.nullcontext()  # `synchronise` gives all processes the values of the first


def synchronise(model, steps: str) -> None:
    if world().processes == 1:
        check_alone(launched())
        return
    check(model, steps)
    for variable in [*model.variables, *model.optimizer.variables]:
        distributed.broadcast(variable.value.data, src=0)
    if steps == "stock":
        _share(model)
    else:
        _synchronised.add(model)


def _share(model) -> None:
    """Makes Keras's own steps those of all processes: gradients are means over them, and metrics are sums."""
    if "apply" not in vars(model.optimizer):
        apply = model.optimizer.apply
        model.optimizer.apply = lambda gradients, variables=None: apply(mean(gradients), variables)
    if "train_step" in vars(model):
        return
    for name in ("train_step", "test_step"):
        setattr(model, name, functools.partial(_shared, model, getattr(model, name)))


def _shared(model, step, data):
    add_up(model, lambda: step(data))
    return model.get_metrics_result()


def feed(batches: keras.utils.PyDataset) -> keras.utils.PyDataset:
    return batches


def predict(network, inputs, batch_size: int | None = None):
    _, processes, _ = world()
    if processes == 1:
        return predicted(network, inputs, batch_size)
    own = mine(len(keras.tree.flatten(inputs)[0]))
    some = own if own.stop > own.start else slice(0, 1)  # a network takes no less than a row
    outputs = predicted(network, keras.tree.map_structure(lambda array: array[some], inputs), batch_size)
    parts = [None] * processes
    distributed.all_gather_object(parts, keras.tree.map_structure(lambda array: array[: own.stop - own.start], outputs))
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def mine(n: int) -> slice:
    return rows(*world()[:2], n)


def total(x):
    return x if world().processes == 1 else _Total.apply(x)


class _Total(torch.autograd.Function):
    """A sum that all processes need is a sum of what all of them make of it, on the way back."""

    @staticmethod
    def forward(_, x):
        return _reduced(x)

    @staticmethod
    def backward(_, gradient):
        return _reduced(gradient)


def _reduced(x):
    x = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(x)
    return x


def gather(x):
    if world().processes == 1:
        return x
    before, after = _around(x.shape[0])
    return total(F.pad(x, [0, 0] * (x.dim() - 1) + [before, after]))


def _around(rows: int) -> tuple[int, int]:
    """How many rows the processes before this one have, and how many those after it."""
    process, processes, _ = world()
    counts = torch.zeros(processes, dtype=torch.int64)
    counts[process] = rows
    distributed.all_reduce(counts)
    return int(counts[:process].sum()), int(counts[process + 1 :].sum())


def own(make, rows: int):
    if world().processes == 1:
        return make(rows)
    before, after = _around(rows)
    return make(before + rows + after)[before : before + rows]


def mean(tensors: list) -> list:
    """Of each tensor the mean over all processes, by one message. `None` stays."""
    if world().processes == 1:
        return tensors
    present = [tensor for tensor in tensors if tensor is not None]
    flat = torch.cat([tensor.reshape(-1) for tensor in present])
    distributed.all_reduce(flat)
    flat /= world().processes
    parts = iter(flat.split([tensor.numel() for tensor in present]))
    return [None if tensor is None else next(parts).view_as(tensor) for tensor in tensors]


def add_up(model, update) -> None:
    """Updates a model's metrics by what `update` adds in all processes: each then has the sums of all."""
    if world().processes == 1:
        update()
        return
    variables = model.metrics_variables
    before = [variable.value.clone() for variable in variables]
    for variable in variables:
        variable.assign(torch.zeros_like(variable.value))
    update()
    added = torch.cat([variable.value.reshape(-1).to(torch.float64) for variable in variables])
    distributed.all_reduce(added)
    parts = added.split([value.numel() for value in before])
    for variable, old, part in zip(variables, before, parts, strict=True):
        variable.assign(old + part.view_as(old).to(old.dtype))
