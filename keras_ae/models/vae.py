"""The variational autoencoder: a `keras.Model` around any encoder and decoder."""

import keras
import numpy as np
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.guards import StopOnSkippedSteps
from keras_ae.models.generation import Generation
from keras_ae.models.inputs import checked_images
from keras_ae.networks.conv import build_decoder, build_encoder, conditioned_classes
from keras_ae.objectives import (
    ActiveUnits,
    elbo_terms,
    get_likelihood,
    kl_per_latent,
    psnr,
    reparameterize,
    weighted_mean,
)

MEANS = ("loss", "reconstruction", "kl", "elbo", "mse", "psnr")


@keras.saving.register_keras_serializable("keras_ae")
class VAE(Generation, keras.Model):
    """A variational autoencoder (Kingma & Welling 2014), trained by `fit` on batches `{"image", "label"}`.

    All terms are in nats per image, summed over pixels and latents, and logged as means over images:
    `loss` (minimised: reconstruction + beta x KL + regularisation), `reconstruction`, `kl` (neither
    weighted nor clamped), `elbo` (weight 1, with the likelihood's constants; higher is better), `mse`
    per pixel of one posterior sample, `skipped_steps`; `evaluate` adds `psnr` in dB and
    `active_units`. With `sample_weight` all means are weighted.

    A step whose loss or gradient is not finite changes nothing and is counted in `skipped_steps`.

    Args:
        encoder: a built model, image (batch, height, width, channels) -> `[z_mean, z_log_var]`, both
            (batch, latent_dim); given `[image, label]` where `conditioning` is "both".
        decoder: a built model, z (batch, latent_dim) -> parameters of the likelihood, shaped like the
            image; given `[z, label]` where `conditioning` is not "none".
        likelihood: "squared_error", "bernoulli", "gaussian", "gaussian_learned", or a `Likelihood`.
        beta: the weight of the KL in the loss.
        kl_warmup_steps: optimizer steps over which that weight grows linearly from 0.
        free_bits: nats of each latent's batch-mean KL that cost nothing.
        conditioning: "none", "decoder" (the label goes to the decoder) or "both".
        class_names: the names of the labels 0, 1, ...
        max_skipped_steps: so many skipped steps in a row end the training with a `NotFiniteError`.
        seed: of the posterior's noise.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        likelihood="squared_error",
        beta: float = 1.0,
        kl_warmup_steps: int = 0,
        free_bits: float = 0.0,
        conditioning: str = "none",
        class_names=(),
        max_skipped_steps: int = 20,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        conditioned_classes(conditioning, len(class_names))
        if beta < 0 or kl_warmup_steps < 0 or free_bits < 0:
            raise InputError(
                f"beta {beta}, kl_warmup_steps {kl_warmup_steps} and free_bits {free_bits} must not be below 0"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = get_likelihood(likelihood)
        self.beta = beta
        self.kl_warmup_steps = kl_warmup_steps
        self.free_bits = free_bits
        self.conditioning = conditioning
        self.class_names = list(class_names)
        self.max_skipped_steps = max_skipped_steps
        self.seed = seed
        # Wide apart: on torch seed s, draw n + 1 is seed s + 1, draw n.
        streams = np.random.SeedSequence(seed).generate_state(2) >> 1
        self.training_noise = keras.random.SeedGenerator(int(streams[0]))
        self.evaluation_noise = keras.random.SeedGenerator(int(streams[1]))
        self._evaluation_start = ops.convert_to_numpy(self.evaluation_noise.state.value)
        self.means = {name: keras.metrics.Mean(name=name) for name in MEANS}
        self.active_units = ActiveUnits(self.latent_dim)
        self.skipped_steps = keras.metrics.Sum(name="skipped_steps")
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return tuple(self.decoder.output_shape[1:])

    @property
    def latent_dim(self) -> int:
        return self.encoder.output_shape[0][-1]

    def call(self, inputs, training=False):
        """The likelihood's mean at the posterior mean: what `predict` gives."""
        image, label = self._image_and_label(inputs)
        z_mean, _ = self.encoder(self.encoder_inputs(image, label), training=training)
        return self.likelihood.mean(self.decoder(self.decoder_inputs(z_mean, label), training=training))

    def compile(self, optimizer="adam", **kwargs):
        """As `keras.Model.compile`, without `loss` and `metrics`: the ELBO is the loss."""
        if kwargs.keys() & {"loss", "metrics", "weighted_metrics", "loss_weights"}:
            raise InputError(
                "a VAE brings its loss and metrics; compile takes an optimizer, and the likelihood is set in VAE(...)"
            )
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self):
        # What "auto" means depends on the backend that loads the file.
        config = super().get_compile_config()
        kept = {name: config[name] for name in ("optimizer", "steps_per_execution") if name in config}
        return {**kept, "jit_compile": "auto"} if kept else {}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [*keras.tree.flatten(callbacks or []), StopOnSkippedSteps(self.max_skipped_steps)]
        given = x.get("image") if isinstance(x, dict) else x
        if isinstance(given, np.ndarray):
            checked_images(given, self.image_shape)
        if y is None:  # a placeholder: Keras drops the weights of data without targets
            y = kwargs.get("sample_weight")
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, **kwargs):
        # The same noise each time: epochs compare, and training's own stream is not touched.
        self.evaluation_noise.state.assign(self._evaluation_start)
        if not self.compiled:
            self.compile()
        y = sample_weight if y is None else y  # as in fit
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def train_step(self, *args):
        return backends.train_step(self, *args)

    def test_step(self, *args):
        return backends.test_step(self, *args)

    def loss_terms(self, x, sample_weight=None, training=False):
        """The ELBO of a batch.

        Returns:
            The scalar to minimise; a dict of vectors (batch,) in nats (`mse` per pixel, `psnr` in dB);
            and z_mean (batch, latent_dim).
        """
        image, label = self._image_and_label(x)
        image = ops.cast(image, "float32")
        z_mean, z_log_var = self.encoder(self.encoder_inputs(image, label), training=training)
        z_mean, z_log_var = ops.cast(z_mean, "float32"), ops.cast(z_log_var, "float32")
        z = reparameterize(z_mean, z_log_var, self.posterior_noise(ops.shape(z_mean), training))
        output = ops.cast(self.decoder(self.decoder_inputs(z, label), training=training), "float32")
        reconstruction, log_likelihood = self.likelihood(image, output, sample_weight=sample_weight, training=training)
        vectors = elbo_terms(
            reconstruction,
            log_likelihood,
            kl_per_latent(z_mean, z_log_var),
            beta=self._kl_weight(training),
            free_bits=self.free_bits,
            sample_weight=sample_weight,
        )
        if self.losses:  # weight and activity regularisation
            vectors["loss"] = vectors["loss"] + sum(ops.cast(loss, "float32") for loss in self.losses)
        vectors["mse"] = ops.mean(ops.square(image - self.likelihood.mean(output)), axis=(1, 2, 3))
        vectors["psnr"] = psnr(vectors["mse"])
        return weighted_mean(vectors["loss"], sample_weight), vectors, z_mean

    def posterior_noise(self, shape, training: bool):
        """Standard normal noise of `shape`, from training's own stream or evaluation's."""
        return keras.random.normal(
            shape, dtype="float32", seed=self.training_noise if training else self.evaluation_noise
        )

    def _kl_weight(self, training: bool):
        if not (training and self.kl_warmup_steps):
            return self.beta
        progress = ops.cast(self.optimizer.iterations, "float32") / self.kl_warmup_steps
        return self.beta * ops.minimum(progress, 1.0)

    @property
    def metrics(self):
        return [*self.means.values(), self.active_units, self.skipped_steps]

    def update_metrics(self, vectors, z_mean, sample_weight, training: bool):
        for name, vector in vectors.items():
            self.means[name].update_state(vector, sample_weight=sample_weight)
        if not training:
            self.active_units.update_state(z_mean)

    def metric_results(self, training: bool) -> dict:
        left_out = {"psnr", "active_units"} if training else {"skipped_steps"}
        return {metric.name: metric.result() for metric in self.metrics if metric.name not in left_out}

    def encoder_inputs(self, image, label):
        return [image, label] if self.conditioning == "both" else image

    def decoder_inputs(self, z, label):
        return z if self.conditioning == "none" else [z, label]

    def _image_and_label(self, inputs):
        if not isinstance(inputs, dict):
            inputs = {"image": inputs}
        if self.conditioning != "none" and "label" not in inputs:
            raise InputError(
                f"conditioning '{self.conditioning}' needs batches {{'image': ..., 'label': ...}}; no 'label' was given"
            )
        return inputs["image"], inputs.get("label")

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "likelihood": keras.saving.serialize_keras_object(self.likelihood),
            "beta": self.beta,
            "kl_warmup_steps": self.kl_warmup_steps,
            "free_bits": self.free_bits,
            "conditioning": self.conditioning,
            "class_names": self.class_names,
            "max_skipped_steps": self.max_skipped_steps,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "decoder", "likelihood")
        }
        return cls(**{**config, **parts})


def conv_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int = 40,
    *,
    class_names=(),
    conditioning: str = "none",
    likelihood="squared_error",
    width: int = 32,
    **kwargs,
) -> VAE:
    """A VAE with the standard networks for images of `image_shape` = (height, width, channels).

    `width` sizes the networks (see `build_encoder`); the rest goes to `VAE`.

    Raises:
        InputError: sizes below 1, an unknown likelihood or conditioning.
    """
    if min(*image_shape, latent_dim, width) < 1:
        raise InputError(f"image shape {image_shape}, latent_dim {latent_dim} and width {width} must be 1 or more")
    likelihood = get_likelihood(likelihood)
    encoder_classes, decoder_classes = conditioned_classes(conditioning, len(class_names))
    encoder = build_encoder(image_shape, latent_dim, num_classes=encoder_classes, width=width)
    decoder = build_decoder(
        image_shape, latent_dim, num_classes=decoder_classes, width=width, output_bias=likelihood.output_bias
    )
    return VAE(encoder, decoder, likelihood=likelihood, conditioning=conditioning, class_names=class_names, **kwargs)
