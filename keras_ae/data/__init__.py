"""Images for training and evaluation: names, folders, splits and batches."""

from keras_ae.data.batches import evaluation_batches, steps_per_epoch, training_batches
from keras_ae.data.catalog import Dataset, Split, load

__all__ = ["Dataset", "Split", "evaluation_batches", "load", "steps_per_epoch", "training_batches"]
