"""How likely a VAE finds images."""

from keras_ae.data import Split, evaluation_batches
from keras_ae.models import VAE
from keras_ae.objectives.elbo import bits_per_dimension
from keras_ae.objectives.likelihoods import Bernoulli


def evaluate_vae(vae: VAE, split: Split) -> dict[str, float]:
    """See `evaluate`."""
    results = vae.evaluate(evaluation_batches(split), return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    if _is_density(vae.likelihood):
        results["bits_per_dimension"] = bits_per_dimension(results["elbo"], vae.image_shape)
    return results


def _is_density(likelihood) -> bool:
    return getattr(likelihood, "is_density", not isinstance(likelihood, Bernoulli))
