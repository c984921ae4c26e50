"""Saved models: the files, what they say of themselves, and how they are opened again.

    path = save_model(model, "denoiser.keras", metadata(model, dataset, task=task))
    saved = open_model(path)
    evaluate(saved.model, saved.load_dataset("photos"), task=saved.task())

A file says in `metadata` what is needed to use it: data set, image shape, classes, task, corruption, loss.
"""

from keras_ae.saving.files import load_model, load_network, read_metadata, save_model
from keras_ae.saving.opened import SavedModel, open_model
from keras_ae.saving.schema import metadata

__all__ = ["SavedModel", "load_model", "load_network", "metadata", "open_model", "read_metadata", "save_model"]
