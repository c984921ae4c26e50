"""What happens beside the steps of `fit`: pictures, checkpoints, progress."""

from keras_ae.callbacks.checkpoint import Checkpoint, restore
from keras_ae.callbacks.pictures import ImageGrids, LossCurves
from keras_ae.callbacks.progress import Progress
from keras_ae.callbacks.signals import StopOnSignal

__all__ = ["Checkpoint", "ImageGrids", "LossCurves", "Progress", "StopOnSignal", "restore"]
