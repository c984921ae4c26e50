"""How likely a VAE finds images."""

from keras_ae.data import Split, evaluation_batches
from keras_ae.models import VAE
from keras_ae.objectives.elbo import bits_per_dimension


def evaluate_vae(vae: VAE, split: Split) -> dict[str, float]:
    """See `evaluate`."""
    results = vae.evaluate(evaluation_batches(split), return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    if vae.likelihood.is_density:
        results["bits_per_dimension"] = bits_per_dimension(results["elbo"], vae.image_shape)
    return results
