"""VAEs with the networks of a family."""

from keras_ae.errors import InputError, one_of
from keras_ae.latents import Latent, get_latent
from keras_ae.models.vae import VAE, part
from keras_ae.networks import NETWORKS, conditioned_classes
from keras_ae.objectives import Likelihood, get_likelihood


def build_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int | tuple[int, ...] = 40,
    *,
    network: str = "conv",
    class_names=(),
    conditioning: str = "none",
    latent="gaussian",
    likelihood="squared_error",
    width: int | None = None,
    **kwargs,
) -> VAE:
    """A VAE with the networks of a family, for images of `image_shape` = (height, width, channels).

    Args:
        latent_dim: how many latents; or (height, width, channels) of a spatial code, or (height, width) and as many
            channels as the latent has where nothing else is said.
        network: "conv", "residual" (with residual blocks), "mlp" (two dense layers) or "gated" (two gated ones).
        width: sizes the networks, as their `build_encoder` says; the family's own where `None`.
        kwargs: the rest goes to `VAE`.

    Raises:
        InputError: sizes that are not possible; or as `VAE`.

    >>> import keras_ae
    >>> vae = keras_ae.build_vae((28, 28, 1), (7, 7, 2), prior="flow", objective="iwae:5", width=4)
    >>> vae.sample(2, seed=0).shape
    (2, 28, 28, 1)
    """
    one_of(network, NETWORKS, "network")
    if min(*image_shape, 1 if width is None else width) < 1:
        raise InputError(f"image shape {image_shape} and width {width} must be 1 or more")
    family = NETWORKS[network]
    latent, likelihood = part(get_latent(latent), Latent), part(get_likelihood(likelihood), Likelihood)
    if isinstance(latent_dim, tuple) and len(latent_dim) == 2:
        latent_dim = (*latent_dim, latent.channels)
    encoder_classes, decoder_classes = conditioned_classes(conditioning, len(class_names))
    size = {} if width is None else {"width": width}
    encoder = family.encoder(image_shape, latent_dim, num_classes=encoder_classes, kernels=latent.heads, **size)
    output_shape = (*image_shape[:2], likelihood.channels(image_shape[2]))
    decoder = family.decoder(
        output_shape, latent_dim, num_classes=decoder_classes, output_bias=likelihood.output_bias, **size
    )
    settings = {"latent": latent, "likelihood": likelihood, "conditioning": conditioning, "class_names": class_names}
    return VAE(encoder, decoder, **settings, **kwargs)


def conv_vae(image_shape: tuple[int, int, int], latent_dim: int | tuple[int, int, int] = 40, **kwargs) -> VAE:
    """A VAE with the standard convolutional networks: `build_vae` with its network "conv".

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((28, 28, 1), latent_dim=8, class_names=["cat", "dog"], conditioning="decoder", width=4)
    >>> vae.sample(2, labels="dog", seed=0).shape
    (2, 28, 28, 1)
    """
    return build_vae(image_shape, latent_dim, network="conv", **kwargs)
