"""The evidence lower bound of a diagonal Gaussian posterior and a standard normal prior, in nats per image."""

import math

from keras import ops

from keras_ae.objectives.likelihoods import weighted_mean


def kl_per_latent(z_mean, z_log_var):
    """KL(q(z|x) || N(0, I)) of each latent, in nats (Kingma & Welling 2014, appendix B).

    Args:
        z_mean, z_log_var: (batch, latent_dim), mean and log-variance of q.

    Returns:
        (batch, latent_dim), each at least 0.

    >>> from keras import ops
    >>> ops.convert_to_numpy(kl_per_latent(ops.zeros((1, 2)), ops.zeros((1, 2)))).tolist()
    [[0.0, 0.0]]
    """
    return 0.5 * (ops.square(z_mean) + ops.expm1(z_log_var) - z_log_var)


def reparameterize(z_mean, z_log_var, noise):
    """A draw from q that gradients pass through (Kingma & Welling 2014, equation 4); all (batch, latent_dim).

    >>> z = reparameterize(ops.ones((1, 2)), ops.zeros((1, 2)), noise=ops.ones((1, 2)))
    >>> ops.convert_to_numpy(z).tolist()
    [[2.0, 2.0]]
    """
    return z_mean + ops.exp(0.5 * z_log_var) * noise


def elbo_terms(reconstruction, log_likelihood, kl_latents, *, beta=1.0, free_bits=0.0, sample_weight=None) -> dict:
    """What a VAE minimises and what it reports (Kingma & Welling 2014, equation 3).

    Args:
        reconstruction, log_likelihood: (batch,), from a `Likelihood`.
        kl_latents: (batch, latent_dim), from `kl_per_latent`.
        beta: the weight of the KL in the loss (Higgins et al. 2017).
        free_bits: nats below which the batch mean of a latent's KL costs nothing more (Kingma et al.
            2016, "Improved variational inference with inverse autoregressive flow", appendix C.8).
        sample_weight: (batch,) or `None`: how often each image counts in that mean.

    Returns:
        A dict of vectors (batch,): `loss` is minimised; `kl` is neither weighted nor clamped; `elbo`
        is higher-is-better, has weight 1 and the likelihood's constants.

    >>> terms = elbo_terms(ops.array([3.0]), ops.array([-3.0]), ops.array([[1.0, 0.5]]), beta=2.0)
    >>> [float(terms[name][0]) for name in ("loss", "kl", "elbo")]
    [6.0, 1.5, -4.5]
    """
    kl = ops.sum(kl_latents, axis=-1)
    mean = weighted_mean(kl_latents, sample_weight)
    costs = ops.logical_or(mean > free_bits, ops.equal(free_bits, 0.0))
    # The mean over the batch of this is the sum over latents of max(free_bits, mean KL), with its gradient.
    penalty = ops.sum(ops.where(costs, kl_latents, free_bits), axis=-1)
    return {
        "loss": reconstruction + beta * penalty,
        "reconstruction": reconstruction,
        "kl": kl,
        "elbo": log_likelihood - kl,
    }


def bits_per_dimension(elbo: float, image_shape: tuple[int, ...]) -> float:
    """The ELBO in another unit: -log2 of the density of each value of an image, for values scaled to 256 levels.

    It is 8 - elbo / (D ln 2), and lower is better. It comes from a continuous density at the pixels themselves.
    Published bits per dimension come from discretised likelihoods or from pixels with uniform noise: do not compare
    them with this number, and do not read it as a bound on the size of a compressed image.

    Args:
        elbo: nats per image, of a likelihood that is a density of pixels in [0, 1].
        image_shape: (height, width, channels), which have D values together.

    >>> bits_per_dimension(0.0, (32, 32, 3))
    8.0
    """
    return 8.0 - elbo / (math.prod(image_shape) * math.log(2))
