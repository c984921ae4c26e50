"""VAEs with several levels of latents, which a top-down decoder asks for one after another."""

import math
from functools import partial

import keras
import numpy as np
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.latents import Gaussian
from keras_ae.models.generation import BATCH_SIZE
from keras_ae.models.inputs import checked_images
from keras_ae.models.levels import (
    Level,
    Walk,
    applied,
    bounded,
    check_levels,
    decoder_of,
    from_noise,
    in_a_row,
    log_density,
    split,
    total,
    walk_down,
)
from keras_ae.models.vae import VAE
from keras_ae.objectives import (
    IWAE,
    OBJECTIVES,
    Draw,
    Inference,
    entropy,
    get_objective,
    kl_between,
)


@keras.saving.register_keras_serializable("keras_ae")
class HierarchicalVAE(VAE):
    """A VAE with levels of latents from coarse to fine, p(z_1) p(z_2 | z_1) ... p(x | z_1, z_2, ...), whose posterior
    walks the same way down, q(z_1 | x) q(z_2 | z_1, x) ... (Sonderby et al. 2016, "Ladder variational autoencoders",
    section 2; Kingma et al. 2016, section 4; Child 2021, "Very deep VAEs", section 3).

    `prior` and `objective` are as of a `VAE`; the prior is that of the top level. Each level's KL is among the metrics,
    as `kl_1`, `kl_2` ..., and `free_bits` are counted for each level. A code is the latents of all levels in a row,
    (n, latents), the top level first; below the top level `encode` gives the posterior given the means above.

    Args:
        encoder: image[, label] -> mean and log-variance of the top level, then features for each level below.
        levels: a `Level` each, the top level first; two or more. A log-variance of any level counts as
            10 tanh(log_var / 10).
        head: features -> parameters of the likelihood.
        objective: as of a `VAE`; "iwae:5" is without doubly reparameterised gradients.
        kwargs: as of a `VAE`, whose latents are Gaussian.

    Raises:
        InputError: as of a `VAE`; levels that do not fit, another latent than "gaussian", DReG, a regularizer.

    >>> import keras_ae
    >>> vae = keras_ae.build_hierarchical_vae((8, 8, 1), [(2, 2, 3), (4, 4, 2)], width=4)
    >>> vae.sample(2, temperature=[0.8, 1.0], seed=0).shape
    (2, 8, 8, 1)
    """

    def __init__(
        self,
        encoder: keras.Model,
        levels: list[Level],
        head: keras.Model,
        *,
        objective=None,
        conditioning: str = "none",
        **kwargs,
    ):
        levels = [Level(*level) for level in levels]
        check_levels(levels, encoder)
        decoder = decoder_of(levels, head, conditioning != "none")
        if isinstance(objective, str) and OBJECTIVES.get(objective.partition(":")[0]) is IWAE:
            objective = get_objective(objective, dreg=False)
        super().__init__(encoder, decoder, objective=objective, conditioning=conditioning, **kwargs)
        self.head = head
        self.networks = [[network for network in level if network is not None] for level in levels]
        self._models = lambda: made  # hidden from Keras: they have no weights of their own
        made = {}

    @staticmethod
    def reported(encoder) -> tuple[str, ...]:
        return tuple(f"kl_{number + 1}" for number in range(len(encoder.outputs) - 1))

    @property
    def levels(self) -> list[Level]:
        """The top level first."""
        return [Level(*networks) for networks in self.networks]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the latents of each level."""
        return [level.shape for level in self.levels]

    @property
    def size(self) -> str:
        return f"{len(self.shapes)} levels of {', '.join('x'.join(map(str, shape)) for shape in self.shapes)} latents"

    @property
    def latent_shape(self) -> tuple[int]:
        return tuple(self.decoder.inputs[0].shape[1:])

    @property
    def prior_shape(self) -> tuple[int, ...]:
        return tuple(self.encoder.outputs[0].shape[1:])

    def _check_latent(self) -> None:
        if type(self.latent) is not Gaussian:
            raise InputError(f"the levels of a hierarchy are gaussian; leave out the latent {self.latent.name}")
        if self.objective.through_z:
            raise InputError("doubly reparameterised gradients are of one level; take IWAE(k, dreg=False)")
        if getattr(self.objective, "regularizers", []):
            raise InputError("a regularizer is of one level of latents; leave it out")

    def _walk(self, label, draw, seen=None, call=applied) -> Walk:
        """See `walk_down`."""
        return walk_down(self.levels, label if self.conditioning != "none" else None, draw, seen, call)

    def infer(self, image, label, scored, sample_weight=None, training=False, *, objective=None, noise=None):
        def call(network, inputs):
            return backends.call(network, inputs, training)

        k = (objective or self.objective).k
        seen = keras.tree.flatten(call(self.encoder, self.encoder_inputs(image, label)))
        if noise is None:
            noise = self.posterior_noise((k * ops.shape(seen[0])[0], *self.latent_shape), training)
        if k > 1:
            seen = [ops.repeat(x, k, axis=0) for x in seen]
            label, scored, sample_weight = (
                None if x is None else ops.repeat(x, k, axis=0) for x in (label, scored, sample_weight)
            )
        walk = self._walk(label, from_noise(noise, self.shapes), seen, call)
        output = ops.cast(call(self.head, walk.features), "float32")
        scores = self.likelihood(scored, output, sample_weight=sample_weight, training=training)
        return Inference(self._draw(walk, k), *scores, k), output, scored

    def _draw(self, walk: Walk, k: int) -> Draw:
        (top, *lower), ((mean, log_var), *posteriors), priors = walk.latents, walk.posteriors, walk.priors[1:]
        log_q = log_density(walk.latents, walk.posteriors)
        log_p_top = self.prior.log_prob(top, self.encode_pseudo_images)
        exact = self.prior.kl(mean, log_var)
        # Where no formula is known: the entropy is, and only the prior needs the draw.
        kl = [ops.sum(exact, axis=1) if exact is not None else -total(entropy(log_var)) - log_p_top]
        kl += [total(kl_between(*own, *prior)) for own, prior in zip(posteriors, priors, strict=True)]
        # Active are latents whose mean is not the prior's, which below the top is another for each draw.
        means = [mean] + [
            (own - centre) * ops.exp(-spread / 2) for (own, _), (centre, spread) in zip(posteriors, priors, strict=True)
        ]
        means, log_vars = (in_a_row(values)[::k] for values in (means, [log_var for _, log_var in walk.posteriors]))
        sizes = tuple(map(math.prod, self.shapes))
        log_p = log_p_top + log_density(lower, priors)
        return Draw(in_a_row(walk.latents), means, log_vars, ops.stack(kl, axis=1), log_q, log_p, sizes=sizes)

    def reported_of(self, inference) -> dict:
        kl = inference.draw.kl
        return {f"kl_{number + 1}": inference.mean_over_draws(kl[:, number]) for number in range(kl.shape[1])}

    def encode_pseudo_images(self, images):
        return bounded(super().encode_pseudo_images(images)[:2])

    def log_prior(self, z, label=None):
        latents = split(z, self.shapes)
        walk = self._walk(label, lambda number, *_: latents[number])
        return self.prior.log_prob(latents[0], self.encode_pseudo_images) + log_density(latents[1:], walk.priors[1:])

    def _code(self, image, label, training):
        seen = self.encoder(self.encoder_inputs(image, label), training=training)
        return in_a_row(self._walk(label, lambda number, mean, log_var: mean, seen).latents)

    def _model(self, name: str, make) -> keras.Model:
        """A walk as a functional model, which Keras compiles. Made once."""
        if name not in self._models():
            with backends.replicated():
                self._models()[name] = make()
        return self._models()[name]

    def _inputs(self) -> tuple:
        """Symbolic: an image, a label, and a row of latents or noise twice."""
        rows = (keras.Input(self.latent_shape) for _ in range(2))
        return keras.Input(self.image_shape), keras.Input((), dtype="int32"), *rows

    def _with_label(self, first, label, *rest) -> list:
        return [first, *([] if self.conditioning == "none" else [label]), *rest]

    def _means(self) -> keras.Model:
        """[image(, label)] -> the posterior's means and log-variances, each level's given the means above."""
        image, label, *_ = self._inputs()
        seen = self.encoder(self.encoder_inputs(image, label))
        walk = self._walk(label, lambda number, mean, log_var: mean, seen)
        return keras.Model(self._with_label(image, label), [in_a_row(x) for x in zip(*walk.posteriors, strict=True)])

    def _proposer(self) -> keras.Model:
        """[image, (label,) noise, other latents] -> latents drawn from the posterior; of each level in a row the
        posterior's means and log-variances; and those of the other latents, where each level is given what they have
        above it."""
        image, label, noise, other = self._inputs()
        seen = self.encoder(self.encoder_inputs(image, label))
        drawn = self._walk(label, from_noise(noise, self.shapes), seen)
        latents = split(other, self.shapes)
        at_other = self._walk(label, lambda number, *_: latents[number], seen)
        rows = [in_a_row(values) for walk in (drawn, at_other) for values in zip(*walk.posteriors, strict=True)]
        return keras.Model(self._with_label(image, label, noise, other), [in_a_row(drawn.latents), *rows])

    def _sampler(self, given: int) -> keras.Model:
        """[latents, (label,) noise] -> latents, of which the upper `given` levels stay and the others are drawn from
        the prior; and the prior's means and log-variances, which are 0 of the top level."""
        _, label, z, noise = self._inputs()
        latents, draw = split(z, self.shapes), from_noise(noise, self.shapes)
        walk = self._walk(label, lambda number, *moments: latents[number] if number < given else draw(number, *moments))
        own = [[ops.zeros_like(latents[0])] * 2, *walk.priors[1:]]
        moments = [in_a_row(values) for values in zip(*own, strict=True)]
        return keras.Model(self._with_label(z, label, noise), [in_a_row(walk.latents), *moments])

    def propose(self, images, label, noise, current):
        inputs = self._with_label(images, label, noise, current)
        z, *moments = backends.predict(self._model("proposer", self._proposer), inputs)
        return z, tuple(moments[:2]), tuple(moments[2:])

    def _encoded(self, images, labels) -> list[np.ndarray]:
        """The posterior on the way of its means."""
        images = checked_images(images, self.image_shape)
        inputs = self._with_label(images, self.label_ids(labels, len(images)))
        return backends.predict(self._model("means", self._means), inputs, BATCH_SIZE)

    def draw_codes(self, n: int, random, temperature, ids, **more) -> np.ndarray:
        """See `Generation.draw_codes`; a temperature of each level is possible, the top level first."""
        temperatures = np.broadcast_to(temperature, len(self.shapes))
        top = self.prior.sample(n, random, temperatures[0], self.encode_pseudo_images, **more)
        z = np.zeros((n, *self.latent_shape), "float32")
        z[:, : math.prod(self.prior_shape)] = top.reshape(n, -1)
        return self._below(z, 1, ids, random, temperatures)[0]

    def _below(self, z, given: int, label, random=None, temperature=1.0) -> list[np.ndarray]:
        """What `_sampler` gives for codes (n, latents), with the prior's means below the given levels where there is
        no `random`."""
        noise = np.zeros(z.shape, "float32")
        if random is not None:
            spread = np.broadcast_to(temperature, len(self.shapes))
            spread = np.repeat(spread, list(map(math.prod, self.shapes))).astype("float32")
            noise = spread * random.standard_normal(z.shape, dtype="float32")
        model = self._model(f"sampler_{given}", partial(self._sampler, given))
        return backends.predict(model, self._with_label(z, label, noise), BATCH_SIZE)

    def variations(
        self, images: np.ndarray, count: int = 4, *, level: int = 1, labels=None, temperature=1.0, seed=None
    ) -> np.ndarray:
        """Images that share the upper levels of an image's code, with all levels below drawn from the prior.

        Args:
            images: (n, height, width, channels).
            count: of each.
            level: the last that is the image's, 1 the top.
            temperature: of all levels that are drawn, or of each level.

        Returns:
            (n, count, height, width, channels).

        Raises:
            InputError: a level that is not there or has none below it, a count below 1, or as `sample`.

        >>> import keras_ae
        >>> vae = keras_ae.build_hierarchical_vae((8, 8, 1), [(2, 2, 3), (4, 4, 2)], width=4)
        >>> vae.variations(np.zeros((2, 8, 8, 1)), count=3, seed=0).shape
        (2, 3, 8, 8, 1)
        """
        self._check_level(level)
        if level == len(self.shapes):
            raise InputError(f"below level {level} there is none to draw; give 1 to {level - 1}")
        if count < 1:
            raise InputError(f"{count} variations are not possible; give 1 or more")
        self.check_temperature(temperature)
        label = self.label_ids(labels, len(images))
        z = np.repeat(self.code(images, labels), count, axis=0)
        label = None if label is None else np.repeat(label, count)
        z, *_ = self._below(z, level, label, np.random.default_rng(seed), temperature)
        return self.decode(z, label).reshape(-1, count, *self.image_shape)

    def check_temperature(self, temperature) -> None:
        if np.ndim(temperature) and np.shape(temperature) != (len(self.shapes),):
            raise InputError(
                f"{np.size(temperature)} temperatures for {len(self.shapes)} levels; give one, or one for each level"
            )
        super().check_temperature(np.min(temperature))

    def traverse(
        self, images: np.ndarray, count: int = 8, steps: int = 9, span: float = 2.5, labels=None, level: int = 1
    ):
        """As `VAE.traverse`, of the latents of a level, 1 the top. The KL to the prior given the levels above ranks
        them. Levels above are the first image's; those below follow as the prior's means.

        >>> import keras_ae
        >>> vae = keras_ae.build_hierarchical_vae((8, 8, 1), [(2, 2, 3), (4, 4, 2)], width=4)
        >>> latents, images = vae.traverse(np.zeros((3, 8, 8, 1)), count=2, steps=5, level=2)
        >>> images.shape
        (2, 5, 8, 8, 1)
        """
        self._check_level(level)
        z, log_var = self.encode(images, labels)
        label = self.label_ids(labels, len(images))
        start = sum(map(math.prod, self.shapes[: level - 1]))
        own = slice(start, start + math.prod(self.shapes[level - 1]))
        if level == 1:
            centre, spread = (np.broadcast_to(values, z[:, own].shape) for values in self._moments())
        else:
            _, mean, prior_log_var = self._below(z, len(self.shapes), label)
            centre, spread = mean[:, own], np.exp(prior_log_var[:, own] / 2)
        moments = z[:, own], log_var[:, own], centre, 2 * np.log(spread)
        kl = kl_between(*(ops.convert_to_tensor(values, "float32") for values in moments))
        latents = np.argsort(-ops.convert_to_numpy(kl).mean(0))[:count]
        moved = np.tile(z[0], (len(latents), steps, 1))
        for row, latent in enumerate(latents):
            moved[row, :, start + latent] = centre[0, latent] + spread[0, latent] * np.linspace(-span, span, steps)
        moved = moved.reshape(-1, *self.latent_shape)
        label = None if label is None else np.repeat(label[:1], len(moved))
        z, *_ = self._below(moved, level, label)
        return latents, self.decode(z, label).reshape(len(latents), steps, *self.image_shape)

    def _check_level(self, level: int) -> None:
        if level not in range(1, len(self.shapes) + 1):
            raise InputError(f"there is no level {level}; this model has 1 (the top) to {len(self.shapes)}")

    def posterior_model(self) -> keras.Model:
        return self._model("means", self._means)

    def prior_step(self) -> keras.Model:
        """All levels: the model's prior for the top one, each level's own below."""
        noise = keras.Input(self.latent_shape, name="noise")
        label = [] if self.conditioning == "none" else [keras.Input((), dtype="int32", name="label")]
        step, more = super().prior_step(), []
        top, *_ = split(noise, self.shapes)
        if step is not None:
            more = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in step.inputs if x.name != "noise"]
            top = step([top, *more])
        top = ops.reshape(top, (-1, math.prod(self.prior_shape)))
        z = ops.concatenate([top, noise[:, math.prod(self.prior_shape) :]], axis=1)
        latents, *_ = self._model("sampler_1", partial(self._sampler, 1))([z, *label, noise])
        return keras.Model([noise, *more, *label], keras.layers.Identity(name="z", dtype="float32")(latents))

    def scratch(self, inputs, outputs) -> int:
        """Means and variances of posterior and prior of each level as well."""
        return super().scratch(inputs, outputs) + 20 * self.latent_dim

    def saved_networks(self) -> dict:
        return {"encoder": self.encoder, "levels": self.networks, "head": self.head}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        names = ("levels", "head")
        parts = {name: keras.saving.deserialize_keras_object(config[name], custom_objects) for name in names}
        return super().from_config({**config, **parts}, custom_objects)
