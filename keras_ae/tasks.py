"""What an autoencoder is trained for: reconstruct, denoise, complete, segment.

A task makes batches for `fit` out of images, and says what they are measured by:

    task = get_task("denoise", "gaussian:25/255")
    model = conv_autoencoder(image_shape, task=task.name, skip_connections=True)
    model.compile("adam", **task.measures(model))
    model.fit(training_batches(split, 64, task=task), steps_per_epoch=steps_per_epoch(split, 64))

To add one: a subclass here and its entry in `TASKS`.
"""

import keras
import numpy as np

from keras_ae.data.corruption import corrupt, parse_corruptions
from keras_ae.errors import InputError, one_of
from keras_ae.objectives import PSNR, SSIM, get_loss

EVALUATION_SEED = 2026


class Task:
    """Images back from a small code.

    Attributes:
        name: of the task.
        default_corruption: what is done to the images where nothing else is asked for.
        word: a corruption that only this task knows.
        hides: whether its corruptions hide pixels, rather than add noise.
        masks: whether batches need the masks of the data set.
        takes_mask: whether the model is given the mask of the known pixels, and returns these unchanged.
        corrects: whether a model with skip connections adds what it finds to its input.
        classifies: whether the model gives the probabilities of each pixel's classes, not an image.

    Args:
        corruption: as `parse_corruptions` takes it, or the task's own `word`; its default where `None`.
        label: whether the model is given labels.
    """

    name = "reconstruct"
    default_corruption: str | None = None
    word: str | None = None
    hides = False
    masks = False
    takes_mask = False
    corrects = False
    classifies = False

    def __init__(self, corruption: str | None = None, *, label: bool = False):
        self.corruption = text = corruption or self.default_corruption
        if corruption and self.default_corruption is None:
            raise InputError(f"the task '{self.name}' takes no corruption; leave out '{corruption}'")
        self.corruptions = parse_corruptions(text) if text and text != self.word else []
        for corruption in self.corruptions:
            if corruption.hides != self.hides:
                kinds = "missing pixels (block, centre, half, pixels)" if self.hides else "noise"
                raise InputError(f"the task '{self.name}' is for {kinds}, not for '{corruption.kind}'")
        self.label = label

    @property
    def unclipped(self) -> bool:
        """Whether its noise leaves [0, 1]."""
        return any(corruption.unclipped for corruption in self.corruptions)

    def check(self, dataset) -> None:
        """Raises an `InputError` where the data set cannot serve the task."""
        for corruption in self.corruptions:
            corruption.check(dataset.image_shape)

    def take(self, split, places: slice) -> tuple:
        """The examples at `places` of a split, as evaluation sees them."""
        return self.examples(split.batch(places, masks=self.masks), split.indices[places])

    def examples(self, batch: dict, indices: np.ndarray, *, seed: int = EVALUATION_SEED, epoch: int = 0) -> tuple:
        """A batch of `Split.batch` as `fit` takes it: inputs by name, the target and, where only some pixels
        count, their weights (batch, height, width)."""
        inputs, *rest = self._examples(batch, indices, seed, epoch)
        if self.label:
            inputs["label"] = batch["label"]
        return inputs, *rest

    def _examples(self, batch, indices, seed, epoch):
        return {"image": batch["image"]}, batch["image"]

    def measures(self, model: keras.Model, loss: str | None = None) -> dict:
        """What `compile` takes for the model: the loss of that name ("mse", "mae", "ssim", "psnr") and the metrics."""
        mse = keras.metrics.MeanSquaredError(name="mse")
        return {"loss": get_loss(loss or "mse"), "weighted_metrics": [mse, PSNR()], "metrics": [SSIM()]}

    def rows(self, inputs: dict, target: np.ndarray, output: np.ndarray) -> dict[str, np.ndarray]:
        """The rows of a picture, by their names: images (n, height, width, channels)."""
        return {"original": target, "decoded": output}


class Denoise(Task):
    """The image without its noise. With the word "none", of images that are noisy already."""

    name = "denoise"
    default_corruption = "gaussian:25/255"
    word = "none"
    corrects = True

    def check(self, dataset):
        super().check(dataset)
        if not self.corruptions:
            raise InputError("images that are noisy already have no originals to learn from or to measure by")

    def _examples(self, batch, indices, seed, epoch):
        if not self.corruptions:
            return {"image": batch["image"]}, batch["image"]
        noisy, _ = corrupt(batch["image"], self.corruptions, indices, seed=seed, epoch=epoch)
        return {"image": noisy}, batch["image"]

    def rows(self, inputs, target, output):
        rows = {"original": target, "noisy": inputs["image"], "denoised": output}
        return rows if self.corruptions else {"noisy": target, "denoised": output}


class Complete(Task):
    """The missing pixels from the known ones, measured over the missing ones (SSIM: over the whole image).

    With the word "masks", what is not black in NAME_mask.png next to an image is missing.
    """

    name = "complete"
    default_corruption = "block:0.25,pixels:0.5"
    word = "masks"
    hides = True
    takes_mask = True
    corrects = True

    def __init__(self, corruption=None, *, label=False):
        super().__init__(corruption, label=label)
        self.masks = not self.corruptions

    def check(self, dataset):
        super().check(dataset)
        if self.masks and not dataset.mask_classes:
            raise InputError(f"the data set {dataset.name} has no masks; give another corruption than 'masks'")

    def _examples(self, batch, indices, seed, epoch):
        if self.masks:
            mask = (batch["mask"] == 0).astype("float32")
            if not mask.any(axis=(1, 2, 3)).all():
                raise InputError("a mask has no black: all pixels of its image are missing, and one must be known")
            image = batch["image"] * mask
        else:
            image, mask = corrupt(batch["image"], self.corruptions, indices, seed=seed, epoch=epoch)
        return {"image": image, "mask": mask}, batch["image"], 1.0 - mask[..., 0]

    def rows(self, inputs, target, output):
        masked = np.where(inputs["mask"] > 0.5, inputs["image"], np.nan)
        return {"original": target, "masked": masked, "completed": output}


class Segment(Task):
    """The class of each pixel, from images whose masks are known."""

    name = "segment"
    masks = True
    classifies = True

    def check(self, dataset):
        if dataset.mask_classes < 2:
            raise InputError(
                f"the data set {dataset.name} has {'no masks' if not dataset.mask_classes else 'masks of one class'} "
                "to learn from; use shapes, or a folder where NAME_mask.png lies next to each image"
            )

    def _examples(self, batch, indices, seed, epoch):
        # One-hot: Keras's sparse cross-entropy has no gradient on torch for images (keras 3.15).
        return {"image": batch["image"]}, batch["segmentation"]

    def measures(self, model, loss=None):
        if loss is not None:
            raise InputError(f"the task 'segment' minimises the cross-entropy; leave out the loss '{loss}'")
        iou = keras.metrics.OneHotMeanIoU(model.output_shape[-1], name="mean_iou")
        return {"loss": keras.losses.CategoricalCrossentropy(), "metrics": [iou]}

    def rows(self, inputs, target, output):
        classes = output.shape[-1]
        return {
            "image": inputs["image"],
            "mask": _as_grey(target.argmax(-1), classes),
            "found": _as_grey(output.argmax(-1), classes),
        }


TASKS = {task.name: task for task in (Task, Denoise, Complete, Segment)}


def get_task(name: str, corruption: str | None = None, *, label: bool = False) -> Task:
    """The task of that name.

    Raises:
        InputError: no such task, or a corruption that is not for it.

    >>> import keras_ae
    >>> keras_ae.get_task("denoise", "gaussian:0.1").corruption
    'gaussian:0.1'
    """
    one_of(name, TASKS, "task")
    return TASKS[name](corruption, label=label)


def _as_grey(classes: np.ndarray, count: int) -> np.ndarray:
    """Class numbers (n, height, width) as evenly spaced greys (n, height, width, 1), black for the first."""
    return (classes[..., None] / (count - 1)).astype("float32")
