"""The variational autoencoder: a `keras.Model` around any encoder and decoder."""

import keras
import numpy as np
from keras import ops

from keras_ae.errors import InputError
from keras_ae.layers import Hyperparameters
from keras_ae.models.generation import Generation
from keras_ae.models.guarded import GuardedModel, Step
from keras_ae.models.inputs import checked_class_names, checked_images, checked_labels
from keras_ae.networks import build_decoder, build_encoder
from keras_ae.networks.conv import conditioned_classes
from keras_ae.objectives import ActiveUnits, elbo_terms, get_likelihood, kl_per_latent, psnr, reparameterize


@keras.saving.register_keras_serializable("keras_ae")
class VAE(Generation, GuardedModel):
    """A variational autoencoder (Kingma & Welling 2014), trained by `fit` on batches `{"image", "label"}`.

    All terms are in nats per image, summed over pixels and latents, and logged as means over images:
    `loss` (minimised: reconstruction + beta x KL + regularisation), `reconstruction`, `kl` (neither
    weighted nor clamped), `elbo` (weight 1, with the likelihood's constants; higher is better), `mse`
    per pixel of one posterior sample, `skipped_steps`. `evaluate` adds `psnr` in dB and
    `active_units`. With `sample_weight` (batch,) the loss is, as in Keras, the sum of weight x loss over
    the number of images; all other means are weighted means.

    `fit(x, y)` scores the images `y` given the images `x`: with noisy `x` and clean `y`, a denoising VAE.

    A step whose loss or gradient is not finite changes nothing and is counted in `skipped_steps`.

    `beta` and `free_bits` may be assigned at any time, also by a callback. They act from the next step on.

    Args:
        encoder: a functional or sequential model, image (batch, height, width, channels) ->
            `[z_mean, z_log_var]`, both (batch, latent_dim); given `[image, label]` where `conditioning` is "both".
        decoder: a functional or sequential model, z (batch, latent_dim) -> parameters of the likelihood, shaped
            like the image; given `[z, label]` where `conditioning` is not "none".
        likelihood: "squared_error", "bernoulli", "gaussian", "gaussian_learned", or a `Likelihood`.
        beta: the weight of the KL in the loss.
        kl_warmup_steps: optimizer steps over which that weight grows linearly from 0.
        free_bits: nats of each latent's batch-mean KL that cost nothing while training. The loss of an evaluation
            is without them.
        conditioning: "none", "decoder" (the label goes to the decoder) or "both".
        class_names: the names of the labels 0, 1, ...
        max_skipped_steps: so many skipped steps in a row end the training with a `NotFiniteError`.
        seed: of the posterior's noise.

    Raises:
        InputError: a network that is neither functional nor sequential, an unknown likelihood or conditioning, a number
            below 0, class names that are no names.

    >>> import keras, keras_ae, numpy as np
    >>> encoder = keras_ae.build_encoder((8, 8, 1), latent_dim=2, width=4)
    >>> decoder = keras_ae.build_decoder((8, 8, 1), latent_dim=2, width=4)
    >>> vae = keras_ae.VAE(encoder, decoder, likelihood="gaussian", beta=2.0)
    >>> vae.compile("adam")
    >>> history = vae.fit(np.random.random((16, 8, 8, 1)), batch_size=8, verbose=0)
    >>> vae.sample(4, seed=0).shape
    (4, 8, 8, 1)
    """

    term_names = ("loss", "reconstruction", "kl", "elbo", "mse", "psnr")

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
        super().__init__(max_skipped_steps=max_skipped_steps, **kwargs)
        checked_class_names(class_names)
        conditioned_classes(conditioning, len(class_names))  # or an InputError
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not hasattr(network, "output_shape"):
                raise InputError(
                    f"the {name} is a {type(network).__name__}; give a functional or sequential model with an Input"
                )
        _not_below_0(beta=beta, kl_warmup_steps=kl_warmup_steps, free_bits=free_bits)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = get_likelihood(likelihood)
        self.kl_warmup_steps = kl_warmup_steps
        self.conditioning = conditioning
        self.class_names = list(class_names)
        self.seed = seed
        # Wide apart: on torch seed s, draw n + 1 is seed s + 1, draw n.
        streams = np.random.SeedSequence(seed).generate_state(2) >> 1
        self.training_noise = keras.random.SeedGenerator(int(streams[0]))
        self.evaluation_noise = keras.random.SeedGenerator(int(streams[1]))
        self._evaluation_start = ops.convert_to_numpy(self.evaluation_noise.state.value)
        self.hyperparameters = Hyperparameters(beta=beta, free_bits=free_bits)
        self.active_units = ActiveUnits(self.latent_dim)
        self.image_metrics = []
        self._check_networks()
        self.built = True

    def _check_networks(self) -> None:
        """Returns if both networks take what they are given."""
        for name, network, first, labelled in (
            ("encoder", self.encoder, self.image_shape, self.conditioning == "both"),
            ("decoder", self.decoder, self.encoder.outputs[0].shape[1:], self.conditioning != "none"),
        ):
            shapes = [tuple(tensor.shape) for tensor in network.inputs]
            wanted = [(None, *first)] + [(None,)] * labelled
            if shapes not in (wanted, [(None, *first)] + [(None, 1)] * labelled):
                raise InputError(f"the {name} takes {shapes}; it must take {wanted}")

    @property
    def beta(self) -> float:
        return self.hyperparameters["beta"]

    @beta.setter
    def beta(self, value: float):
        _not_below_0(beta=value)
        self.hyperparameters["beta"] = value

    @property
    def free_bits(self) -> float:
        return self.hyperparameters["free_bits"]

    @free_bits.setter
    def free_bits(self, value: float):
        _not_below_0(free_bits=value)
        self.hyperparameters["free_bits"] = value

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

    def compile(self, optimizer="adam", metrics=None, **kwargs):
        """As `keras.Model.compile`, without `loss`: the ELBO is the loss.

        Args:
            metrics: more of them, measured between the scored image and its reconstruction, both
                (batch, height, width, channels), and weighted by `sample_weight`.
        """
        super().compile(optimizer=optimizer, **kwargs)
        self.image_metrics = [keras.metrics.get(metric) for metric in metrics or []]

    def get_compile_config(self):
        config = super().get_compile_config()
        if self.image_metrics:
            config["metrics"] = [keras.saving.serialize_keras_object(metric) for metric in self.image_metrics]
        return config

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        y = self._checked_target(x, y, kwargs.get("sample_weight"))
        if isinstance(kwargs.get("validation_data"), tuple | list):
            val_x, val_y, val_weight = keras.utils.unpack_x_y_sample_weight(tuple(kwargs["validation_data"]))
            kwargs["validation_data"] = (val_x, self._checked_target(val_x, val_y, val_weight), val_weight)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, **kwargs):
        # The same noise each time: epochs compare, and training's own stream is not touched.
        self.evaluation_noise.state.assign(self._evaluation_start)
        y = self._checked_target(x, y, sample_weight)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def predict(self, x, *args, **kwargs):
        self._checked_target(x, None, None)
        return super().predict(x, *args, **kwargs)

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs):
        """As `keras.Model.export`: the reconstruction, from a dict of `image` and, of a conditional model, `label`."""
        if input_signature is None:
            signature = {"image": keras.InputSpec(shape=(None, *self.image_shape), dtype="float32")}
            if self.conditioning != "none":
                signature["label"] = keras.InputSpec(shape=(None,), dtype="int32")
            input_signature = [signature]
            self({name: np.zeros((1, *spec.shape[1:]), spec.dtype) for name, spec in signature.items()})
        return super().export(filepath, format, verbose, input_signature, **kwargs)

    def loss_terms(self, x, y=None, sample_weight=None, training=False) -> Step:
        """The ELBO of a batch.

        Args:
            x: images, or a dict of `image` and `label`.
            y: the images (batch, height, width, channels) that are scored; those of x where `None`.
            sample_weight: (batch,) float32, or `None`.

        Returns:
            The loss, a scalar; vectors (batch,) in nats (`mse` per pixel, `psnr` in dB); and what other metrics see:
            the scored `image`, its `reconstruction` and `z_mean` (batch, latent_dim).
        """
        image, label = self._image_and_label(x)
        image = ops.cast(image, "float32")
        z_mean, z_log_var = self.encoder(self.encoder_inputs(image, label), training=training)
        z_mean, z_log_var = ops.cast(z_mean, "float32"), ops.cast(z_log_var, "float32")
        z = reparameterize(z_mean, z_log_var, self.posterior_noise(ops.shape(z_mean), training))
        output = ops.cast(self.decoder(self.decoder_inputs(z, label), training=training), "float32")
        image = image if y is None else self._target(y)
        reconstruction, log_likelihood = self.likelihood(image, output, sample_weight=sample_weight, training=training)
        vectors = elbo_terms(
            reconstruction,
            log_likelihood,
            kl_per_latent(z_mean, z_log_var),
            beta=self._kl_weight(training),
            free_bits=self._free_bits(training),
            sample_weight=sample_weight,
        )
        if sample_weight is not None:
            vectors["loss"] = vectors["loss"] * sample_weight
        if self.losses:  # weight and activity regularisation
            vectors["loss"] = vectors["loss"] + sum(ops.cast(loss, "float32") for loss in self.losses)
        mean = self.likelihood.mean(output)
        vectors["mse"] = ops.mean(ops.square(image - mean), axis=(1, 2, 3))
        if not training:
            vectors["psnr"] = psnr(vectors["mse"])
        outputs = {"image": image, "reconstruction": mean, "z_mean": z_mean}
        return Step((ops.mean(vectors["loss"]),), vectors, outputs)

    def posterior_noise(self, shape, training: bool):
        """Standard normal noise of `shape`, from training's own stream or evaluation's."""
        return keras.random.normal(
            shape, dtype="float32", seed=self.training_noise if training else self.evaluation_noise
        )

    def _kl_weight(self, training: bool):
        beta = ops.convert_to_tensor(self.hyperparameters.numbers["beta"])
        if not (training and self.kl_warmup_steps):
            return beta
        progress = ops.cast(self.optimizer.iterations, "float32") / self.kl_warmup_steps
        return beta * ops.minimum(progress, 1.0)

    def _free_bits(self, training: bool):
        # A clamped mean over a batch would make an evaluation depend on the batch size.
        return ops.convert_to_tensor(self.hyperparameters.numbers["free_bits"]) if training else 0.0

    @property
    def metrics(self):
        return [self.terms, self.active_units, self.skipped_steps, *self.image_metrics]

    def update_metrics(self, step, sample_weight, training: bool):
        super().update_metrics(step, sample_weight, training)
        for metric in self.image_metrics:
            metric.update_state(step.outputs["image"], step.outputs["reconstruction"], sample_weight=sample_weight)
        if not training:
            self.active_units.update_state(step.outputs["z_mean"], sample_weight)

    def metric_results(self, training: bool) -> dict:
        results = super().metric_results(training)
        if training:
            del results["psnr"]
        else:
            results["active_units"] = self.active_units.result()
        return results | {metric.name: metric.result() for metric in self.image_metrics}

    def encoder_inputs(self, image, label):
        return [image, label] if self.conditioning == "both" else image

    def decoder_inputs(self, z, label):
        return z if self.conditioning == "none" else [z, label]

    def _target(self, y):
        if tuple(y.shape[1:]) != self.image_shape:
            raise InputError(
                f"y has the shape {tuple(y.shape)}; it is the scored image, (n, {str(self.image_shape)[1:-1]}). "
                "Labels go in with the image: {'image': ..., 'label': ...}"
            )
        return ops.cast(y, "float32")

    def _checked_target(self, x, y, sample_weight):
        """`y`, after a look at all that are arrays: images, labels and `y` itself."""
        batch = x if isinstance(x, dict) else {"image": x}
        image, label = batch.get("image"), batch.get("label")
        if isinstance(image, np.ndarray):
            checked_images(image, self.image_shape)
        if isinstance(label, np.ndarray) and self.conditioning != "none":
            checked_labels(label, len(image), self.class_names)
        if isinstance(y, np.ndarray):
            self._target(y)
            checked_images(y, self.image_shape)
        if y is None and sample_weight is not None:
            return image  # Keras drops the weights of data without targets
        return y

    def _image_and_label(self, inputs):
        if not isinstance(inputs, dict):
            inputs = {"image": inputs}
        if self.conditioning != "none" and "label" not in inputs:
            raise InputError(
                f"conditioning '{self.conditioning}' needs batches {{'image': ..., 'label': ...}}; no 'label' was given"
            )
        label = inputs.get("label")
        return inputs["image"], None if label is None else ops.convert_to_tensor(label)

    def scratch(self, inputs, outputs) -> int:
        """What the likelihood takes, and the latents' means, variances and draws."""
        return self.likelihood.scratch(inputs, outputs) + 4 * self.latent_dim

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


def _not_below_0(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number >= 0:
            raise InputError(f"{name} {number} must not be below 0")


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

    >>> import keras_ae
    >>> vae = keras_ae.conv_vae((28, 28, 1), latent_dim=8, class_names=["cat", "dog"], conditioning="decoder", width=4)
    >>> vae.sample(2, labels="dog", seed=0).shape
    (2, 28, 28, 1)
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
