"""Splits -> batches `{"image", "label"}`, or those of a task, for `fit` and `evaluate` on each backend."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_ae import backends
from keras_ae.data.catalog import Split
from keras_ae.errors import InputError


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Full batches in an epoch: an incomplete one is left out, so that shapes stay static (at least one).

    Raises:
        InputError: the split is empty.
    """
    if not len(split):
        raise InputError(
            "too few images to train on: a folder needs at least 3, for training, validation and test, and a --limit 2"
        )
    return max(1, len(split) // batch_size)


def training_batches(
    split: Split, batch_size: int, *, seed: int = 0, epoch: int = 0, batch: int = 0, flip: bool = False, task=None
):
    """An endless stream of shuffled batches, from a batch of an epoch on.

    The order of each epoch is a permutation derived from (seed, epoch) alone, so that a run that
    was stopped after any batch goes on exactly. Give `fit` the number of steps, too:

        vae.fit(training_batches(split, 128), steps_per_epoch=steps_per_epoch(split, 128), epochs=10)

    With `flip`, half of the images, other ones in each epoch, are mirrored left to right. With a `task`
    (`keras_ae.get_task`), its inputs and targets are the batches; what it corrupts depends on the seed,
    the epoch and the image alone.
    """
    return backends.feed(TrainingBatches(split, batch_size, seed, (epoch, batch), flip, task))


def evaluation_batches(split: Split, batch_size: int = 128, *, task=None):
    """All images of the split once, in order; the last batch may be smaller."""
    return backends.feed(EvaluationBatches(split, batch_size, task))


class TrainingBatches(keras.utils.PyDataset):
    """Batch number i of training, in any epoch, by i alone; while it is used, a thread makes the next."""

    def __init__(self, split: Split, batch_size: int, seed: int, start: tuple[int, int], flip: bool, task=None):
        super().__init__()
        self.split = split
        self.task = task
        self.flip = flip
        self.seed = seed
        self.batch_size = min(batch_size, len(split))
        self.steps = steps_per_epoch(split, batch_size)
        self.first = start[0] * self.steps + start[1]
        self._drawn = (None, None, None)
        self._thread = ThreadPoolExecutor(1)
        self._ahead = (None, None)
        self._on_device = None
        if task is None:  # a task makes its examples in NumPy
            self._on_device = backends.on_device(split.arrays["images"], split.arrays["labels"], split.indices)

    @property
    def num_batches(self) -> None:
        return None  # endless, in the words of Keras

    def __getitem__(self, index: int) -> dict | tuple:
        expected, future = self._ahead
        if index != expected:
            future = self._thread.submit(self._make, index)
        batch = future.result()
        self._ahead = index + 1, self._thread.submit(self._make, index + 1)
        return batch

    def _make(self, index: int) -> dict | tuple:
        epoch, step = divmod(self.first + index, self.steps)
        order, mirrored = self._draw(epoch)
        places = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
        if self._on_device is not None:
            return self._on_device(places, mirrored[places] & self.flip)
        batch = self.split.batch(places, masks=self.task is not None and self.task.masks)
        if self.flip:
            chosen = mirrored[places]
            for name in {"image", "mask", "segmentation"} & batch.keys():
                batch[name][chosen] = batch[name][chosen, :, ::-1]
        if self.task is None:
            return batch
        return self.task.examples(batch, self.split.indices[places], seed=self.seed, epoch=epoch)

    def __iter__(self):
        return (self[index] for index in itertools.count())

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's permutation, and which images it mirrors."""
        if self._drawn[0] != epoch:
            random = np.random.default_rng([self.seed, epoch])
            count = len(self.split)
            self._drawn = (epoch, random.permutation(count), random.random(count) < 0.5)
        return self._drawn[1:]


class EvaluationBatches(keras.utils.PyDataset):
    """One pass over a split, in order."""

    def __init__(self, split: Split, batch_size: int, task=None):
        super().__init__()
        self.split = split
        self.batch_size = batch_size
        self.task = task

    @property
    def num_batches(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, index: int) -> dict | tuple:
        places = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.split.batch(places) if self.task is None else self.task.take(self.split, places)

    def __iter__(self):
        return (self[index] for index in range(self.num_batches))
