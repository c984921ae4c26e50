"""Sizes and rates found by KerasTuner: what is tuned, how trials are chosen, run and kept.

    search = Search(build, {"latent_dim": [8, 16, 32]}, dataset, "runs/tune", epochs=10)
    search.search()
    for trial in search.trials(): ...

Trials are compared by what does not move with what is tuned: the validation ELBO at weight 1 (a VAE) or the
validation MSE (an autoencoder), of each trial's best epoch.
"""

from keras_ae.tuning.oracles import results, tuned
from keras_ae.tuning.search import ELBO, MSE, HyperModel, Search

__all__ = ["ELBO", "MSE", "HyperModel", "Search", "results", "tuned"]
