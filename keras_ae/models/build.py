"""VAEs with the networks of a family."""

from keras_ae.errors import InputError, one_of
from keras_ae.latents import Latent, get_latent
from keras_ae.models.hierarchical import HierarchicalVAE
from keras_ae.models.vae import VAE, part
from keras_ae.networks import NETWORKS, conditioned_classes
from keras_ae.networks.hierarchical import build_hierarchy
from keras_ae.objectives import Likelihood, get_likelihood

HIERARCHICAL = "hierarchical"


def build_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int | tuple[int, ...] | list[tuple[int, ...]] = 40,
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
            channels as the latent has where nothing else is said. Of a hierarchy the levels, a list, as
            `build_hierarchical_vae` takes it.
        network: "conv", "residual" (with residual blocks), "mlp" (two dense layers), "gated" (two gated ones) or
            "hierarchical".
        width: sizes the networks, as their `build_encoder` says; the family's own where `None`.
        kwargs: the rest goes to `VAE`.

    Raises:
        InputError: sizes that are not possible; or as `VAE`.

    >>> import keras_ae
    >>> vae = keras_ae.build_vae((28, 28, 1), (7, 7, 2), prior="flow", objective="iwae:5", width=4)
    >>> vae.sample(2, seed=0).shape
    (2, 28, 28, 1)
    """
    one_of(network, [*NETWORKS, HIERARCHICAL], "network")
    _check_sizes(image_shape, width)
    has_levels = not isinstance(latent_dim, int) and any(isinstance(level, list | tuple) for level in latent_dim)
    if has_levels != (network == HIERARCHICAL):
        kinds = "levels are latents of a hierarchical network alone, which needs them, as 4x4x16,8x8x8"
        raise InputError(f"the network {network} cannot have the latents {latent_dim}; {kinds}")
    if network == HIERARCHICAL:
        settings = {"latent": latent, "likelihood": likelihood, "conditioning": conditioning, "width": width}
        return build_hierarchical_vae(image_shape, latent_dim, class_names=class_names, **settings, **kwargs)
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


def build_hierarchical_vae(
    image_shape: tuple[int, int, int],
    levels: list[tuple[int, ...]],
    *,
    class_names=(),
    conditioning: str = "none",
    likelihood="squared_error",
    width: int | None = None,
    **kwargs,
) -> HierarchicalVAE:
    """A hierarchical VAE with residual convolutions, or with gated dense layers.

    Args:
        levels: (height, width, channels) of the latents of each, the top level first, for convolutions; or (latents,)
            of all, for dense layers.
        width: as `networks.build_hierarchy` takes it: 32 of convolutions and 300 of dense layers where `None`.
        kwargs: the rest goes to `HierarchicalVAE`.

    Raises:
        InputError: as `networks.build_hierarchy` and `HierarchicalVAE`.

    >>> import keras_ae
    >>> vae = keras_ae.build_hierarchical_vae((8, 8, 1), [(2, 2, 4), (4, 4, 2), (8, 8, 1)], prior="vamp:5", width=4)
    >>> vae.size
    '3 levels of 2x2x4, 4x4x2, 8x8x1 latents'
    """
    _check_sizes(image_shape, width)
    likelihood = part(get_likelihood(likelihood), Likelihood)
    encoder_classes, decoder_classes = conditioned_classes(conditioning, len(class_names))
    hierarchy = build_hierarchy(
        image_shape,
        levels,
        likelihood.channels(image_shape[2]),
        encoder_classes=encoder_classes,
        decoder_classes=decoder_classes,
        width=width,
        output_bias=likelihood.output_bias,
    )
    settings = {"likelihood": likelihood, "conditioning": conditioning, "class_names": class_names}
    return HierarchicalVAE(*hierarchy, **settings, **kwargs)


def _check_sizes(image_shape: tuple[int, int, int], width: int | None) -> None:
    if min(*image_shape, 1 if width is None else width) < 1:
        raise InputError(f"image shape {image_shape} and width {width} must be 1 or more")
