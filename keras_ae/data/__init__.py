"""Images for training and evaluation: names, folders, splits and batches."""

from keras_ae.data.batches import evaluation_batches, steps_per_epoch, training_batches
from keras_ae.data.catalog import Dataset, Split, load
from keras_ae.data.corruption import corrupt, parse_corruptions
from keras_ae.data.folders import photographs, sizes

__all__ = [
    "Dataset",
    "Split",
    "corrupt",
    "evaluation_batches",
    "load",
    "parse_corruptions",
    "photographs",
    "sizes",
    "steps_per_epoch",
    "training_batches",
]
