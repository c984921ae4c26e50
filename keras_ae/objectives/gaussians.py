"""Diagonal Gaussians: draws, densities and divergences, in nats."""

import math

from keras import ops


def kl_per_latent(z_mean, z_log_var):
    """KL(q(z|x) || N(0, I)) of each latent, in nats (Kingma & Welling 2014, appendix B).

    Args:
        z_mean, z_log_var: (batch, ...), mean and log-variance of q.

    Returns:
        (batch, ...), each at least 0.

    >>> from keras import ops
    >>> ops.convert_to_numpy(kl_per_latent(ops.zeros((1, 2)), ops.zeros((1, 2)))).tolist()
    [[0.0, 0.0]]
    """
    return 0.5 * (ops.square(z_mean) + ops.expm1(z_log_var) - z_log_var)


def kl_between(mean, log_var, prior_mean, prior_log_var):
    """KL(q || p) of diagonal Gaussians, in each dimension: the shape of `mean`.

    >>> kl = kl_between(ops.ones(1), ops.zeros(1), ops.zeros(1), ops.zeros(1))
    >>> float(kl[0])
    0.5
    """
    distance = ops.square(mean - prior_mean) * ops.exp(-prior_log_var)
    return 0.5 * (distance + ops.expm1(log_var - prior_log_var) - (log_var - prior_log_var))


def reparameterize(z_mean, z_log_var, noise):
    """A draw from q that gradients pass through (Kingma & Welling 2014, equation 4); all (batch, ...).

    >>> z = reparameterize(ops.ones((1, 2)), ops.zeros((1, 2)), noise=ops.ones((1, 2)))
    >>> ops.convert_to_numpy(z).tolist()
    [[2.0, 2.0]]
    """
    return z_mean + ops.exp(0.5 * z_log_var) * noise


def log_normal(z, mean, log_var):
    """The log-density of a diagonal Gaussian at z, in each dimension: the shape of z.

    >>> round(float(log_normal(ops.zeros(1), ops.zeros(1), ops.zeros(1))[0]), 4)
    -0.9189
    """
    return -0.5 * (ops.square(z - mean) * ops.exp(-log_var) + log_var + math.log(2 * math.pi))


def entropy(log_var):
    """The entropy of a Gaussian, in each dimension: the shape of `log_var`.

    >>> round(float(entropy(ops.zeros(1))[0]), 4)
    1.4189
    """
    return 0.5 * (log_var + 1 + math.log(2 * math.pi))


def log_normal_pairs(z, means, log_vars):
    """The log-density of each Gaussian of a set at each z, as products of matrices: (n, components).

    Args:
        z: (n, latents).
        means, log_vars: (components, latents).

    >>> pairs = log_normal_pairs(ops.zeros((1, 2)), ops.ones((3, 2)), ops.zeros((3, 2)))
    >>> [round(float(value), 3) for value in pairs[0]]
    [-2.838, -2.838, -2.838]
    """
    centre = ops.mean(means, axis=0)  # near it, squares are small and lose less
    z, means = z - centre, means - centre
    precision = ops.exp(-log_vars)
    squares = ops.matmul(ops.square(z), ops.transpose(precision)) - 2 * ops.matmul(z, ops.transpose(means * precision))
    constant = ops.sum(ops.square(means) * precision + log_vars, axis=1) + means.shape[1] * math.log(2 * math.pi)
    return -0.5 * (squares + constant)
