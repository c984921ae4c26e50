"""What happens beside the steps of `fit`: pictures, checkpoints, progress."""

from keras_ae.callbacks.checkpoint import Checkpoint, restore
from keras_ae.callbacks.pictures import ImageGrids, LossCurves
from keras_ae.callbacks.progress import Progress

__all__ = ["Checkpoint", "ImageGrids", "LossCurves", "Progress", "restore"]
