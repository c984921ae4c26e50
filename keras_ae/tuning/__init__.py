"""Sizes and rates found by KerasTuner: what is tuned, how trials are chosen, run, kept and reported.

    tune(build_vae, {"latent_dim": [8, 16, 32]}, dataset, "runs/tune", output="best.keras", epochs=10)

Trials are compared by what does not move with what is tuned: the validation ELBO at weight 1 (a VAE) or the
validation MSE (an autoencoder), of each trial's best epoch.
"""

import importlib.util

from keras_ae.errors import InputError

if importlib.util.find_spec("keras_tuner") is None:
    raise InputError('keras_ae.tuning needs KerasTuner, which is not installed; pip install -e ".[tuning]"')

from keras_ae.tuning import report, workers
from keras_ae.tuning.build import build_autoencoder, build_vae, builder, parse_choices, parse_space
from keras_ae.tuning.oracles import results, tuned
from keras_ae.tuning.search import ELBO, MSE, HyperModel, Search
from keras_ae.tuning.tune import tune

__all__ = [
    "ELBO",
    "MSE",
    "HyperModel",
    "Search",
    "build_autoencoder",
    "build_vae",
    "builder",
    "parse_choices",
    "parse_space",
    "report",
    "results",
    "tune",
    "tuned",
    "workers",
]
