"""The diagonal Gaussian posterior and its divergence from the standard normal prior."""

from keras import ops


def kl_per_latent(z_mean, z_log_var):
    """KL(q(z|x) || N(0, I)) of each latent, in nats (Kingma & Welling 2014, appendix B).

    Args:
        z_mean, z_log_var: (batch, latent_dim), mean and log-variance of q.

    Returns:
        (batch, latent_dim), each at least 0.
    """
    return 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - 1.0 - z_log_var)


def reparameterize(z_mean, z_log_var, noise):
    """A draw from q that gradients pass through (Kingma & Welling 2014, equation 4); all (batch, latent_dim)."""
    return z_mean + ops.exp(0.5 * z_log_var) * noise
