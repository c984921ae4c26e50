"""The variational autoencoder: a `keras.Model` around any encoder and decoder."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.latents import LATENTS, Latent, get_latent
from keras_ae.members import name_of
from keras_ae.models.generation import Generation
from keras_ae.models.guarded import GuardedModel, Step
from keras_ae.models.inputs import checked_class_names, checked_images, checked_labels
from keras_ae.networks import conditioned_classes
from keras_ae.objectives import (
    ELBO,
    OBJECTIVES,
    Inference,
    Likelihood,
    Objective,
    get_likelihood,
    get_objective,
    get_regularizer,
    psnr,
)
from keras_ae.priors import FITTED, PRIORS, Prior, get_prior

SMALL_KL = 0.01  # weight of the KL below which a code is not the prior's
PARTS = ("latent", "prior", "objective", "likelihood")
SETTINGS = {"beta": 1.0, "kl_warmup_steps": 0, "free_bits": 0.0, "regularizers": []}  # of an ELBO where nothing is said


@keras.saving.register_keras_serializable("keras_ae")
class VAE(Generation, GuardedModel):
    """A variational autoencoder (Kingma & Welling 2014), trained by `fit` on batches `{"image", "label"}`.

    All terms are in nats per image, summed over pixels and latents, and logged as means over images: those of the
    objective (`loss`, which is minimised; `reconstruction`; `kl`, neither weighted nor clamped; `elbo` with weight 1
    and the likelihood's constants, higher is better), `mse` per pixel of the posterior's draws, `skipped_steps`.
    `evaluate` adds `psnr` in dB and `active_units`. With `sample_weight` (batch,) the loss is, as in Keras, the sum of
    weight x loss over the number of images; all other means are weighted means.

    `fit(x, y)` scores the images `y` given the images `x`: with noisy `x` and clean `y`, a denoising VAE.

    A step whose loss or gradient is not finite changes nothing and is counted in `skipped_steps`.

    `beta` and `free_bits` of an ELBO may be assigned at any time, also by a callback. They act from the next step on.

    Args:
        encoder: a functional or sequential model, image (batch, height, width, channels) -> `[z_mean, z_log_var]`, both
            a vector (batch, latents) or both spatial (batch, h, w, c); given `[image, label]` where `conditioning` is
            "both".
        decoder: a functional or sequential model, z, shaped like `z_mean`, -> parameters of the likelihood, shaped
            like the image, with as many channels as `Likelihood.channels` says; given `[z, label]` where
            `conditioning` is not "none".
        latent: "gaussian"; "fsq", "vq" or "vq_cosine", also with levels or codes, as "fsq:8x8x8" or "vq:512";
            "deterministic"; or a `Latent`.
        prior: "standard", "mixture", "vamp" or "flow", also with a number, as "vamp:500", and for tokens "uniform"; or
            a `Prior`. The latent's own where `None`.
        objective: "elbo", "iwae", also with a number of draws, as "iwae:5", or "reconstruction"; or an `Objective`. The
            latent's own where `None`.
        likelihood: "squared_error", "bernoulli", "gaussian", "gaussian_learned", "logistic", "logistic_mixture", also
            with a number of components, as "logistic_mixture:5"; or a `Likelihood`.
        beta, kl_warmup_steps, free_bits, regularizers: of the ELBO, as `ELBO` takes them; a regularizer also by its
            name, as "tc:6".
        conditioning: "none", "decoder" (the label goes to the decoder) or "both".
        class_names: the names of the labels 0, 1, ...
        max_skipped_steps: so many skipped steps in a row end the training with a `NotFiniteError`.
        seed: of the posterior's noise.

    Raises:
        InputError: a network that is neither functional nor sequential, an unknown member or conditioning, a number
            below 0, settings of an ELBO for another objective, class names that are no names.

    >>> import keras, keras_ae, numpy as np
    >>> encoder = keras_ae.build_encoder((8, 8, 1), latent_dim=2, width=4)
    >>> decoder = keras_ae.build_decoder((8, 8, 1), latent_dim=2, width=4)
    >>> vae = keras_ae.VAE(encoder, decoder, likelihood="gaussian", beta=2.0)
    >>> vae.compile("adam")
    >>> history = vae.fit(np.random.random((16, 8, 8, 1)), batch_size=8, verbose=0)
    >>> vae.sample(4, seed=0).shape
    (4, 8, 8, 1)
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        latent="gaussian",
        prior=None,
        objective=None,
        likelihood="squared_error",
        beta: float = 1.0,
        kl_warmup_steps: int = 0,
        free_bits: float = 0.0,
        regularizers=(),
        conditioning: str = "none",
        class_names=(),
        max_skipped_steps: int = 20,
        seed: int = 0,
        **kwargs,
    ):
        latent = part(get_latent(latent), Latent)
        objective = _objective(
            objective or latent.default_objective,
            beta=beta,
            kl_warmup_steps=kl_warmup_steps,
            free_bits=free_bits,
            regularizers=regularizers,
        )
        names = (*objective.names, *latent.costs, *self.reported(encoder), "mse", "psnr")
        super().__init__(max_skipped_steps=max_skipped_steps, term_names=names, **kwargs)
        checked_class_names(class_names)
        conditioned_classes(conditioning, len(class_names))  # or an InputError
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not hasattr(network, "output_shape"):
                raise InputError(
                    f"the {name} is a {type(network).__name__}; give a functional or sequential model with an Input"
                )
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = part(get_likelihood(likelihood), Likelihood)
        self.latent = latent
        self.prior = part(get_prior(prior or latent.default_prior), Prior)
        self.objective = objective
        self.conditioning = conditioning
        self.class_names = list(class_names)
        self.seed = seed
        self.make_noise(seed)
        self._check_networks()
        self.latent.build((None, *self.latent_shape))
        codes = self.latent.codes if self.latent.is_discrete else None
        if not self.prior.built:
            self.prior.build((None, *self.prior_shape), (None, *self.image_shape), codes)
        self.code_metric = self.latent.metric()
        self.image_metrics = []
        self.built = True

    def _check_networks(self) -> None:
        """Returns if both networks take what they are given."""
        for name, network, first, labelled in (
            ("encoder", self.encoder, self.image_shape, self.conditioning == "both"),
            ("decoder", self.decoder, self.latent_shape, self.conditioning != "none"),
        ):
            shapes = [tuple(tensor.shape) for tensor in network.inputs]
            wanted = [(None, *first)] + [(None,)] * labelled
            if shapes not in (wanted, [(None, *first)] + [(None, 1)] * labelled):
                raise InputError(f"the {name} takes {shapes}; it must take {wanted}")
        wanted = (None, *self.image_shape[:2], self.likelihood.channels(self.image_shape[2]))
        if tuple(self.decoder.output_shape) != wanted:
            raise InputError(f"the decoder gives {tuple(self.decoder.output_shape)}; for this likelihood {wanted}")
        self._check_latent()
        if self.prior.classes not in (0, len(self.class_names)):
            raise InputError(f"the prior has {self.prior.classes} classes; give the names of as many")
        if self.prior.is_of_tokens != self.latent.is_discrete:
            kinds = [kind for kind, prior in PRIORS.items() if prior.is_of_tokens == self.latent.is_discrete]
            names = name_of(self.prior, PRIORS | FITTED), name_of(self.latent, LATENTS)
            raise InputError(f"the prior {names[0]} is not for the latent {names[1]}; take {', '.join(kinds)}")

    def _check_latent(self) -> None:
        """Returns if the encoder gives what the latent takes, and the objective can do with its draws."""
        if len(self.encoder.outputs) != len(self.latent.heads):
            heads = ", ".join(self.latent.heads)
            raise InputError(f"the encoder gives {len(self.encoder.outputs)} outputs; the latent takes {heads}")
        self.latent.check(self.latent_shape, self.objective)

    @staticmethod
    def reported(encoder) -> tuple[str, ...]:
        """Names of what `reported_of` adds to the metrics."""
        return ()

    def reported_of(self, inference: Inference) -> dict:
        """Vectors (batch,) by name."""
        return {}

    @property
    def beta(self) -> float:
        return self._elbo("beta").beta

    @beta.setter
    def beta(self, value: float):
        self._elbo("beta").beta = value

    @property
    def free_bits(self) -> float:
        return self._elbo("free_bits").free_bits

    @free_bits.setter
    def free_bits(self, value: float):
        self._elbo("free_bits").free_bits = value

    def _elbo(self, setting: str) -> ELBO:
        if not isinstance(self.objective, ELBO):
            raise InputError(f"the objective {type(self.objective).__name__} has no {setting}; an ELBO has")
        return self.objective

    def adapt(self, split) -> None:
        """Tells prior and objective what they are trained on: a VampPrior starts at images, a total correlation counts
        them. Call it before `fit`, where a part says so.

        Args:
            split: the `data.Split` of the training images.

        >>> import keras_ae
        >>> shapes = keras_ae.data.load("shapes", limit=40, image_size=(8, 8))
        >>> vae = keras_ae.build_vae(shapes.image_shape, 2, regularizers=["tc:6"], width=4)
        >>> vae.adapt(shapes.train)
        """
        self.prior.adapt(split)
        self.objective.adapt(split)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return tuple(self.encoder.inputs[0].shape[1:])

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latents,), or (height, width, channels) of a spatial code."""
        return tuple(self.encoder.outputs[0].shape[1:])

    @property
    def prior_shape(self) -> tuple[int, ...]:
        """Of the latents that the prior is of."""
        return self.latent_shape

    @property
    def latent_dim(self) -> int:
        """How many latents there are."""
        return math.prod(self.latent_shape)

    @property
    def size(self) -> str:
        """How much a code holds, in words."""
        return self.latent.size

    @property
    def samples_classes(self) -> bool:
        """Whether samples are of a class, which the decoder or the prior is given."""
        return self.conditioning != "none" or self.prior.classes > 0

    @property
    def fills_prior(self) -> bool:
        """Whether codes are where the prior draws: it was fitted to them, or the KL in the loss brought the two
        together. With hardly any KL it does not, nor does it with tokens under a prior that is always the same."""
        if isinstance(self.prior, tuple(FITTED.values())):
            return True
        weight = getattr(self.objective, "beta", 1.0) if "kl" in self.objective.names else 0.0
        return weight >= SMALL_KL and (bool(self.prior.weights) or not self.latent.is_discrete)

    @property
    def images_at_once(self) -> int:
        """How many an image costs: draws, and what the prior encodes (`keras_ae/trust/sizes.py`)."""
        return self.objective.k + self.prior.images

    def call(self, inputs, training=False):
        """The likelihood's mean at the posterior mean: what `predict` gives."""
        image, label = self._image_and_label(inputs)
        z = self._code(image, label, training)
        return self.likelihood.mean(self.decoder(self.decoder_inputs(z, label), training=training))

    def _code(self, image, label, training):
        return self.latent.mode(self._float32(self.encoder(self.encoder_inputs(image, label), training=training)))

    def compile(self, optimizer="adam", metrics=None, **kwargs):
        """As `keras.Model.compile`, without `loss`: the ELBO is the loss.

        Args:
            kwargs: among them `skip_norm`: a step whose whole gradient's norm is above it is skipped.
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
        y = self.checked_targets(x, y, kwargs)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, **kwargs):
        y = self.checked_target(x, y, sample_weight)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def predict(self, x, *args, **kwargs):
        self.checked_target(x, None, None)
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

    def loss_terms(self, x, y=None, sample_weight=None, training=False, updates=None) -> Step:
        """The objective of a batch.

        Args:
            x: images, or a dict of `image` and `label`.
            y: the images (batch, height, width, channels) that are scored; those of x where `None`.
            sample_weight: (batch,) float32, or `None`.
            updates: of the weights so far, a scalar; those of the model's own optimizer where `None`.

        Returns:
            The loss, a scalar; vectors (batch,) in nats (`mse` per pixel, `psnr` in dB); and what other metrics see:
            the scored `image`, the `reconstruction` of its first draw, and of the `code` what its metric looks at.
        """
        image, label = self._image_and_label(x)
        image = ops.cast(image, "float32")
        scored = image if y is None else self._target(y)
        k = self.objective.k
        if training and updates is None:
            updates = self.optimizer.iterations
        inference, output, scored = self.infer(image, label, scored, sample_weight, training)
        vectors = self.objective.terms(
            inference,
            step=updates,
            sample_weight=sample_weight,
            training=training,
        )
        for name, cost in inference.draw.costs.items():
            vectors[name] = inference.mean_over_draws(cost)
            vectors["loss"] = vectors["loss"] + vectors[name]
        vectors |= self.reported_of(inference)
        if sample_weight is not None:
            vectors["loss"] = vectors["loss"] * sample_weight
        if self.losses:  # weight and activity regularisation
            vectors["loss"] = vectors["loss"] + sum(ops.cast(loss, "float32") for loss in self.losses)
        mean = self.likelihood.mean(output)
        vectors["mse"] = inference.mean_over_draws(ops.mean(ops.square(scored - mean), axis=(1, 2, 3)))
        if not training:
            vectors["psnr"] = psnr(vectors["mse"])
        outputs = {
            "image": scored[::k],
            "reconstruction": mean[::k],
            "code": self.latent.measured(inference.draw),
        }
        return Step((ops.mean(vectors["loss"]),), vectors, outputs)

    def infer(self, image, label, scored, sample_weight=None, training=False, *, objective=None, noise=None):
        """Encodes images, draws, decodes: the only pass through both networks.

        Args:
            image, scored: what is encoded and what the likelihood scores, (batch, height, width, channels).
            label: (batch,) or `None`.
            objective: which draws k an image; the model's own where `None`.
            noise: of the draws, (batch x k, *latent_shape), standard normal; drawn here where `None`.

        Returns:
            The `Inference`; the decoder's output and the scored images, both of each draw (batch x k, ...).
        """
        objective = objective or self.objective
        k = objective.k
        outputs = self._float32(backends.call(self.encoder, self.encoder_inputs(image, label), training))
        if noise is None and self.latent.is_random:
            shape = ops.shape(outputs[0])
            noise = self.posterior_noise((k * shape[0], *shape[1:]), training)
        draw, credit = self.latent.posterior(outputs, noise, self.prior, objective, self.encode_pseudo_images, training)
        if k > 1:
            label, scored, sample_weight = (
                None if x is None else ops.repeat(x, k, axis=0) for x in (label, scored, sample_weight)
            )
        output = ops.cast(backends.call(self.decoder, self.decoder_inputs(draw.z, label), training), "float32")
        scores = self.likelihood(scored, output, sample_weight=sample_weight, training=training)
        return Inference(draw, *scores, k, credit), output, scored

    def log_prior(self, z, label=None):
        """log p(z) of codes (n, *latent_shape), with labels (n,): (n,)."""
        return self.prior.log_prob(z, self.encode_pseudo_images)

    def encode_pseudo_images(self, images):
        """The encoder's outputs for a prior's own images, whose labels take turns."""
        label = None
        if self.conditioning == "both":
            label = ops.convert_to_tensor(np.arange(images.shape[0], dtype="int32") % len(self.class_names))
        return self._float32(self.encoder(self.encoder_inputs(images, label), training=False))

    def _float32(self, outputs) -> list:
        return [ops.cast(output, "float32") for output in keras.tree.flatten(outputs)]

    def posterior_noise(self, shape, training: bool):
        """Standard normal noise of `shape`, from training's own stream or evaluation's."""
        return self.normal(shape, training)

    @property
    def metrics(self):
        return [self.terms, self.code_metric, *self.step_metrics, *self.image_metrics]

    def update_metrics(self, step, sample_weight, training: bool):
        super().update_metrics(step, sample_weight, training)
        for metric in self.image_metrics:
            metric.update_state(step.outputs["image"], step.outputs["reconstruction"], sample_weight=sample_weight)
        if self._measures_code(training):
            self.code_metric.update_state(step.outputs["code"], sample_weight)

    def metric_results(self, training: bool) -> dict:
        results = super().metric_results(training)
        if training:
            del results["psnr"]
        else:
            results = {name: value for name, value in results.items() if name not in self.objective.of_training}
        if self._measures_code(training):
            measured = self.code_metric.result()
            results |= measured if isinstance(measured, dict) else {self.code_metric.name: measured}
        return results | {metric.name: metric.result() for metric in self.image_metrics}

    def _measures_code(self, training: bool) -> bool:
        return self.latent.is_discrete or not training

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

    def checked_targets(self, x, y, kwargs: dict):
        """`y`, after a look at what `fit` is given. Puts the targets of `validation_data` where they belong."""
        self.objective.check_ready()
        if isinstance(kwargs.get("validation_data"), tuple | list):
            val_x, val_y, val_weight = keras.utils.unpack_x_y_sample_weight(tuple(kwargs["validation_data"]))
            kwargs["validation_data"] = (val_x, self.checked_target(val_x, val_y, val_weight), val_weight)
        return self.checked_target(x, y, kwargs.get("sample_weight"))

    def checked_target(self, x, y, sample_weight):
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

    def posterior_model(self) -> keras.Model:
        """[image(, label)] -> what the latent takes, as a functional model."""
        return self.encoder

    def prior_step(self) -> keras.Model | None:
        """As `Prior.step`, of all latents."""
        return self.prior.step(self.encode_pseudo_images)

    def scratch(self, inputs, outputs) -> int:
        """What the likelihood and the prior take, and the latents' means, variances and draws."""
        parts = (self.likelihood, self.latent, self.prior, self.objective)
        return sum(part.scratch(inputs, outputs) for part in parts) + 4 * self.latent_dim

    def saved_networks(self) -> dict:
        """By their names in `__init__`."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def get_config(self):
        parts = self.saved_networks() | {name: getattr(self, name) for name in PARTS}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "conditioning": self.conditioning,
            "class_names": self.class_names,
            "max_skipped_steps": self.max_skipped_steps,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "decoder", *PARTS)
            if name in config  # files of version 0.1 name a likelihood alone, and the settings of its ELBO
        }
        return cls(**{**config, **parts})


def part(part, kind: type):
    """The part, which is of that kind. A file may hold any other.

    Raises:
        InputError: it is not.
    """
    if not isinstance(part, kind):
        raise InputError(f"a {type(part).__name__} stands for a {kind.__name__}; give one, or its name")
    return part


def _objective(objective, **settings) -> Objective:
    """The objective, with the settings that an ELBO has."""
    settings["regularizers"] = [get_regularizer(each) for each in settings["regularizers"] if each != "none"]
    if isinstance(objective, str) and issubclass(OBJECTIVES.get(objective.partition(":")[0], Objective), ELBO):
        return get_objective(objective, **settings)
    objective = part(get_objective(objective), Objective)
    given = [name for name, value in settings.items() if value not in (SETTINGS[name], [])]
    if given and isinstance(objective, ELBO):
        raise InputError(f"give {' and '.join(given)} to the ELBO itself, as ELBO({given[0]}=...)")
    if given:
        raise InputError(
            f"{' and '.join(given)} change an ELBO; the objective {type(objective).__name__} is a bound without them. "
            "Leave them out, or take the objective 'elbo'"
        )
    return objective
