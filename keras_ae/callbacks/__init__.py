"""What happens between the steps of `fit`: pictures, checkpoints, progress, early ends."""

from keras_ae.callbacks.checkpoint import Checkpoint, SaveBest, State, restore
from keras_ae.callbacks.pictures import ImageGrids, LossCurves
from keras_ae.callbacks.progress import Progress
from keras_ae.callbacks.stop import StopOnSignal
from keras_ae.guards import StopOnNotFinite
from keras_ae.pictures import task_pictures, vae_pictures

__all__ = [
    "Checkpoint",
    "ImageGrids",
    "LossCurves",
    "Progress",
    "SaveBest",
    "State",
    "StopOnNotFinite",
    "StopOnSignal",
    "restore",
    "task_pictures",
    "vae_pictures",
]
