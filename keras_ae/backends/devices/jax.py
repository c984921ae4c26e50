"""JAX: one program over all devices, also of several processes. The compiler shares it out by where a batch lies."""

import contextlib
import os
import pickle

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from keras_ae.backends.devices import World, check_alone, launched, predicted, rows, told
from keras_ae.errors import InputError

SILENT = 20  # seconds without a sign of life, after which a process is taken for dead
BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")  # the first one is read by JAX
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")  # how many processes they have started

_shared = None  # `keras.distribution.DataParallel` over all devices


def start(devices: int | None = None) -> None:
    global _shared
    _shared = None
    if devices == 1:
        return
    _join()
    local = jax.local_devices()
    if devices and jax.process_count() > 1:
        raise InputError("each of several processes takes all devices that it sees; leave out --devices")
    if devices and devices > len(local):
        raise InputError(
            f"there are {len(local)} devices; give --devices 1 to {len(local)}. On a CPU, "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={devices} simulates {devices}"
        )
    taken = local[:devices] if devices else jax.devices()
    if len(taken) > 1:
        names = [f"{device.platform}:{device.id}" for device in taken]
        mesh = keras.distribution.DeviceMesh((len(taken),), ["batch"], names)
        _shared = keras.distribution.DataParallel(device_mesh=mesh, auto_shard_dataset=False)


def _join() -> None:
    """Meets the other processes, where a launcher has started several."""
    if jax.distributed.is_initialized():
        return
    settings = {"heartbeat_timeout_seconds": SILENT}
    if launched():  # by torchrun, which has the port itself
        settings["coordinator_address"] = f"{os.environ['MASTER_ADDR']}:{int(os.environ['MASTER_PORT']) + 1}"
        settings |= {"num_processes": int(os.environ["WORLD_SIZE"]), "process_id": int(os.environ["RANK"])}
        settings["local_device_ids"] = int(os.environ["LOCAL_RANK"])
    elif not _is_known() and any(name in os.environ for name in BY_HAND):
        missing = [name for name in BY_HAND if name not in os.environ]
        if missing:
            raise InputError(f"{', '.join(missing)} is missing; set {', '.join(BY_HAND)}, or none of them")
        settings["num_processes"] = int(os.environ["JAX_NUM_PROCESSES"])
        settings["process_id"] = int(os.environ["JAX_PROCESS_ID"])
    elif not _is_known():
        return
    jax.distributed.initialize(**settings)


def _is_known() -> bool:
    """By what JAX knows by itself: Slurm, Open MPI, the hosts of a TPU."""
    several = any(int(os.environ.get(name, 1)) > 1 for name in LAUNCHERS)
    return several or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def world() -> World:
    if _shared is None:
        return World()
    return World(jax.process_index(), jax.process_count(), _shared.device_mesh.devices.size)


def is_first() -> bool:
    return world().process == 0


def once(function):
    if world().processes == 1:
        return function()
    return told(function, is_first(), _from_first)


def _from_first(content):
    """Anything that pickle holds, from the first process to all."""
    sent = np.frombuffer(pickle.dumps(content), "uint8") if is_first() else np.zeros(0, "uint8")
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(sent))))
    sent = sent if is_first() else np.zeros(size, "uint8")
    return pickle.loads(np.asarray(multihost_utils.broadcast_one_to_all(sent)).tobytes())


def highest(numbers: list[float]) -> list[float]:
    if world().processes == 1:
        return numbers
    return multihost_utils.process_allgather(np.array(numbers, "float32")).max(0).tolist()


def is_lost(error: Exception) -> bool:
    said = any(words in str(error) for words in ("closed by peer", "reset by peer", "heartbeat", "has disconnected"))
    return isinstance(error, (jax.errors.JaxRuntimeError, ValueError)) and said  # as which Gloo's failures come, too


def replicated():
    if _shared is None or world().processes > 1:  # whose first values may differ
        return contextlib.nullcontext()
    return _shared.scope()


def synchronise(model, steps: str) -> None:
    """Keras knows where a variable lies from the context in which it was made. Others get the first process's value."""
    if _shared is None:
        by_hand = int(os.environ.get("JAX_NUM_PROCESSES", 1)) > 1
        check_alone(jax.process_count() == 1 and (launched() or _is_known() or by_hand))
        return
    variables = [*model.variables, *model.optimizer.variables]
    variables = [variable for variable in variables if variable._layout is None]
    values = once(lambda: [np.asarray(variable.value) for variable in variables])
    for variable, value in zip(variables, values, strict=True):
        variable._layout = _shared.get_variable_layout(variable)
        variable.assign(value)


def feed(batches: keras.utils.PyDataset) -> keras.utils.PyDataset:
    return _Shared(batches) if _shared else batches


class _Shared(keras.utils.PyDataset):
    """Batches whose rows lie on all devices; where they do not divide, each device has all of them.

    No distribution of Keras's is active meanwhile: it would refuse those that do not divide.
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    @property
    def num_batches(self):
        return self.batches.num_batches

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()

    def __getitem__(self, index):
        n = self.batches.rows(index)
        batch = self.batches[index]
        return keras.tree.map_structure(lambda array: _placed(array, n), batch)


def _placed(array, n: int):
    """An array of n rows on all devices, of which this process has `mine(n)`."""
    spec = PartitionSpec() if n % world().replicas else PartitionSpec("batch")
    sharding = NamedSharding(_shared.device_mesh.backend_mesh, spec)
    return jax.make_array_from_process_local_data(sharding, array, (n, *array.shape[1:]))


def predict(network, inputs, batch_size: int | None = None):
    """By all devices of one process; of several, each computes all of it, as results lie where they are made."""
    _, processes, replicas = world()
    if replicas == 1:
        return predicted(network, inputs, batch_size)
    if processes > 1:
        return predicted(network, inputs, batch_size or -(-len(_first(inputs)) // replicas))
    return network.predict(_Shared(_Rows(inputs, (batch_size or len(_first(inputs))) * replicas)), verbose=0)


def _first(inputs):
    return keras.tree.flatten(inputs)[0]


class _Rows(keras.utils.PyDataset):
    """Arrays, so many rows at a time."""

    def __init__(self, inputs, batch_size: int):
        super().__init__()
        self.inputs = inputs
        self.batch_size = batch_size

    @property
    def num_batches(self):
        return -(-len(_first(self.inputs)) // self.batch_size)

    def rows(self, index):
        return min(self.batch_size, len(_first(self.inputs)) - index * self.batch_size)

    def __getitem__(self, index):
        own = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return (keras.tree.map_structure(lambda array: array[own], self.inputs),)


def mine(n: int) -> slice:
    process, processes, replicas = world()
    return slice(0, n) if n % replicas else rows(process, processes, n)


def total(x):
    return x


def gather(x):
    return x


def own(make, rows):
    return make(rows)
