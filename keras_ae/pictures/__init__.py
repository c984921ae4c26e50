"""What models show of themselves, as pictures.

    pictures.samples(vae, labels=["star", "heart"]).save("samples.png")
    named = pictures.restored(model, task, dataset, count=16)
    pictures.comparison(named).save("restored.png")

Images are float in [0, 1]; NaN is drawn white.
"""

from keras_ae.pictures.grids import Pictures, Rows, animation, comparison, grid, new_path, save_each, to_picture
from keras_ae.pictures.restoration import file_names, restored, restored_photographs, task_pictures
from keras_ae.pictures.saved import of_vae
from keras_ae.pictures.vae import (
    completions,
    interpolations,
    prior_pictures,
    reconstructions,
    samples,
    traversals,
    vae_pictures,
    variations,
)

__all__ = [
    "Pictures",
    "Rows",
    "animation",
    "comparison",
    "completions",
    "file_names",
    "grid",
    "interpolations",
    "new_path",
    "of_vae",
    "prior_pictures",
    "reconstructions",
    "restored",
    "restored_photographs",
    "samples",
    "save_each",
    "task_pictures",
    "to_picture",
    "traversals",
    "vae_pictures",
    "variations",
]
