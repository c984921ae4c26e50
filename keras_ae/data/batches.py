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

    >>> import numpy as np
    >>> from keras_ae import data
    >>> data.steps_per_epoch(data.Split({}, np.arange(100)), batch_size=32)
    3
    """
    if not len(split):
        raise InputError(
            "too few images to train on: a folder needs at least 3, for training, validation and test, and a --limit 2"
        )
    return max(1, len(split) // batch_size)


def training_batches(
    split: Split,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    batch: int = 0,
    flip: bool = False,
    task=None,
    endless: bool = False,
):
    """Shuffled batches for `fit`, a new permutation each epoch.

    The order of an epoch is derived from (seed, epoch) alone, so that a run that was stopped after any batch continues
    exactly.

    Args:
        split: the images.
        batch_size: images a batch. An incomplete one is left out.
        seed: of order, mirroring, corruption and pixels that are drawn.
        epoch, batch: where to begin.
        flip: mirror half of the images left to right, other ones in each epoch.
        task: from `keras_ae.get_task`; its inputs and targets are the batches. What it corrupts depends on the seed,
            the epoch and the image alone.
        endless: do not end a pass after the last batch of an epoch. `fit` then needs `steps_per_epoch`.

    >>> import keras_ae, tempfile
    >>> shapes = keras_ae.data.load("shapes", image_size=(8, 8), limit=40, cache_dir=tempfile.mkdtemp())
    >>> vae = keras_ae.conv_vae(shapes.image_shape, 2, width=4)
    >>> vae.compile("adam")
    >>> history = vae.fit(keras_ae.data.training_batches(shapes.train, 8), epochs=2, verbose=0)
    """
    return backends.feed(TrainingBatches(split, batch_size, seed, (epoch, batch), flip, task, endless))


def evaluation_batches(split: Split, batch_size: int = 128, *, task=None):
    """All images of the split once, in order. The last batch may be smaller.

    >>> import keras_ae
    >>> shapes = keras_ae.data.load("shapes", image_size=(8, 8), limit=40)
    >>> vae = keras_ae.conv_vae(shapes.image_shape, 2, width=4)
    >>> results = vae.evaluate(keras_ae.data.evaluation_batches(shapes.test), return_dict=True, verbose=0)
    >>> results["elbo"] < 0
    True
    """
    return backends.feed(EvaluationBatches(split, batch_size, task, shared=True))


class TrainingBatches(keras.utils.PyDataset):
    """Batch number i of training, in any epoch, by i alone. While it is used, a thread makes the next, unless the
    backend makes it at once."""

    same_sizes = True

    def __init__(self, split: Split, batch_size: int, seed: int, start, flip: bool, task=None, endless: bool = True):
        super().__init__()
        self.split = split
        self.task = task
        self.flip = flip
        self.seed = seed
        self.batch_size = min(batch_size, len(split))
        _check_divides(self.batch_size)
        self.steps = steps_per_epoch(split, batch_size)
        self.first = start[0] * self.steps + start[1]
        self.endless = endless
        self._given = 0
        self._drawn = (None, None, None)
        self._thread = ThreadPoolExecutor(1)
        self._ahead = (None, None)
        self._on_device = None
        if task is None and not split.draws_pixels and "images" in split.arrays:  # what is drawn anew is drawn in NumPy
            self._on_device = backends.on_device(split.arrays["images"], split.arrays["labels"], split.indices)

    @property
    def num_batches(self) -> int | None:
        return None if self.endless else self.steps

    def rows(self, index: int) -> int:
        """Of a batch, in all processes together."""
        return self.batch_size

    def on_epoch_begin(self):
        self._given = 0

    def on_epoch_end(self):
        # Keras also calls this after a look at the first batch.
        if not self.endless and self._given >= self.steps:
            self.first += self.steps

    def __getitem__(self, index: int) -> dict | tuple:
        if self.endless:
            return self.batch(self.first + index)
        self._given += 1  # the next one, whatever the index: unless told not to, Keras shuffles it
        return self.batch(self.first + self._given - 1)

    def batch(self, index: int) -> dict | tuple:
        """Batch number `index` of all epochs."""
        if self._on_device is not None:
            return self._make(index)
        expected, future = self._ahead
        if index != expected:
            future = self._thread.submit(self._make, index)
        batch = future.result()
        self._ahead = index + 1, self._thread.submit(self._make, index + 1)
        return batch

    def _make(self, index: int) -> dict | tuple:
        epoch, step = divmod(index, self.steps)
        order, mirrored = self._draw(epoch)
        places = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
        places = places[backends.mine(self.batch_size)]
        if self._on_device is not None:
            return self._on_device(places, mirrored[places] & self.flip)
        masks = self.task is not None and self.task.masks
        batch = self.split.batch(places, masks=masks, key=(self.seed, epoch + 1))
        if self.flip:
            chosen = mirrored[places]
            for name in {"image", "mask", "segmentation"} & batch.keys():
                batch[name][chosen] = batch[name][chosen, :, ::-1]
        if self.task is None:
            return batch
        return self.task.examples(batch, self.split.indices[places], seed=self.seed, epoch=epoch)

    def __iter__(self):
        if self.endless:
            yield from (self[index] for index in itertools.count())
        self.on_epoch_begin()
        yield from (self[index] for index in range(self.steps))
        self.on_epoch_end()

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's permutation, and which images it mirrors."""
        if self._drawn[0] != epoch:
            random = np.random.default_rng([self.seed, epoch])
            count = len(self.split)
            self._drawn = (epoch, random.permutation(count), random.random(count) < 0.5)
        return self._drawn[1:]


def _check_divides(batch_size: int) -> None:
    """Returns if each device gets as many images of a batch as the others."""
    replicas = backends.world().replicas
    if batch_size % replicas:
        below = batch_size - batch_size % replicas
        near = f"{below} or {below + replicas}" if below else replicas
        raise InputError(f"a batch of {batch_size} does not divide among {replicas} devices; give {near}")


class EvaluationBatches(keras.utils.PyDataset):
    """One pass over a split, in order; where it is `shared`, over the rows of this process."""

    same_sizes = False

    def __init__(self, split: Split, batch_size: int, task=None, shared: bool = False):
        super().__init__()
        self.split = split
        self.batch_size = batch_size
        self.task = task
        self.shared = shared

    @property
    def num_batches(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def rows(self, index: int) -> int:
        """Of batch number `index`, in all processes together."""
        return min(self.batch_size, len(self.split) - index * self.batch_size)

    def __getitem__(self, index: int) -> dict | tuple:
        n, first = self.rows(index), index * self.batch_size
        own = backends.mine(n) if self.shared else slice(0, n)
        places = slice(first + own.start, first + own.stop)
        return self.split.batch(places) if self.task is None else self.task.take(self.split, places)

    def __iter__(self):
        return (self[index] for index in range(self.num_batches))
