"""A trained autoencoder with another prior."""

import keras

from keras_ae.errors import InputError
from keras_ae.models.hierarchical import HierarchicalVAE
from keras_ae.models.vae import VAE
from keras_ae.priors import Prior


def with_prior(model: keras.Model, prior: Prior, class_names=()) -> VAE:
    """The model as a `VAE` that samples from the prior. It has copies of the model's weights.

    Args:
        model: a `VAE`; or a convolutional autoencoder, which becomes one of a deterministic code.
        prior: fitted to the model's codes; one of tokens is built for them here.
        class_names: of the prior's classes, where the model has none.

    Raises:
        InputError: the prior is of other codes, or of more or fewer classes; the model is a hierarchy.

    >>> import keras_ae, numpy as np
    >>> model = keras_ae.conv_autoencoder((8, 8, 1), 2, 3, width=4)
    >>> codes = np.random.default_rng(0).normal(size=(100, 2, 2, 3)).astype("float32")
    >>> vae = keras_ae.with_prior(model, keras_ae.priors.GMM.fitted(codes, most=1))
    >>> vae.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """
    if isinstance(model, HierarchicalVAE):
        raise InputError(f"a prior is fitted to codes of one level; this model has {len(model.shapes)}")
    shape = model.latent_shape if isinstance(model, VAE) else tuple(model.get_layer("decoder").inputs[0].shape[1:])
    if not prior.built:
        if not (isinstance(model, VAE) and model.latent.is_discrete and prior.is_of_tokens):
            raise InputError("this prior is not fitted to codes; take it from priors.get_fitted")
        prior.build((None, *shape), codes=model.latent.codes)
    if prior.latent_shape != shape:
        raise InputError(f"the prior is of codes {prior.latent_shape}; this model's are {shape}")
    if not isinstance(model, VAE):
        encoder, decoder = (model.get_layer(name) for name in ("encoder", "decoder"))
        labelled = len(encoder.inputs), len(decoder.inputs)
        conditioning = {(1, 1): "none", (1, 2): "decoder", (2, 2): "both"}[labelled]
        return VAE(
            encoder, decoder, latent="deterministic", prior=prior, conditioning=conditioning, class_names=class_names
        )
    config = {**model.get_config(), "prior": keras.saving.serialize_keras_object(prior)}
    config["class_names"] = config["class_names"] or list(class_names)
    made = VAE.from_config(config)
    for name in ("encoder", "decoder", "latent", "likelihood", "objective"):
        getattr(made, name).set_weights(getattr(model, name).get_weights())
    made.prior.set_weights(prior.get_weights())
    return made
