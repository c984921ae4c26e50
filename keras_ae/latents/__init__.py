"""What stands between encoder and decoder: posterior, draws, mode. One file a latent."""

from keras_ae.latents.base import Latent
from keras_ae.latents.gaussian import Gaussian
from keras_ae.members import get_member

LATENTS = {"gaussian": Gaussian}


def get_latent(identifier: str | Latent) -> Latent:
    """The latent of that name, or the given one.

    Raises:
        InputError: no such name.

    >>> list(get_latent("gaussian").heads)
    ['z_mean', 'z_log_var']
    """
    return get_member(identifier, LATENTS, "latent")


__all__ = ["LATENTS", "Gaussian", "Latent", "get_latent"]
