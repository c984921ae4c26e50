"""What stands between encoder and decoder: posterior, draws, mode. One file a latent."""

from keras_ae.errors import InputError
from keras_ae.latents.base import Latent
from keras_ae.latents.deterministic import Deterministic
from keras_ae.latents.fsq import FSQ
from keras_ae.latents.gaussian import Gaussian
from keras_ae.latents.quantizer import Quantizer
from keras_ae.latents.vq import VQ, CosineVQ
from keras_ae.members import get_member

LATENTS = {"gaussian": Gaussian, "fsq": FSQ, "vq": VQ, "vq_cosine": CosineVQ, "deterministic": Deterministic}


def get_latent(identifier: str | Latent, entropy: float = 0.0) -> Latent:
    """The latent of that name, as "fsq:8x8x8" or "vq:512", or the given one.

    Args:
        entropy: as `FSQ` takes it.

    Raises:
        InputError: no such name, or an entropy of another latent than fsq.

    >>> list(get_latent("gaussian").heads)
    ['z_mean', 'z_log_var']
    """
    if not entropy:
        return get_member(identifier, LATENTS, "latent")
    if str(identifier).partition(":")[0] != "fsq":
        raise InputError(f"the entropy of codes is of fsq, not of {identifier}; leave it out")
    return get_member(identifier, LATENTS, "latent", entropy=entropy)


__all__ = ["FSQ", "LATENTS", "VQ", "CosineVQ", "Deterministic", "Gaussian", "Latent", "Quantizer", "get_latent"]
