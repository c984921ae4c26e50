"""What a trained VAE is used for: arrays in, arrays out."""

import warnings

import keras
import numpy as np

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.models.completion import complete
from keras_ae.models.inputs import checked_images, checked_labels, refuse_labels
from keras_ae.objectives import kl_per_latent

BATCH_SIZE = 128
MOMENTS = 2000  # draws from a prior, for its mean and spread


class Generation:
    """The public numpy interface of `VAE`: images are float32 (n, height, width, channels) in [0, 1].

    Labels are ids or class names, one for each image or one for all.
    """

    def sample(
        self,
        n: int,
        labels=None,
        temperature: float | list[float] = 1.0,
        seed: int | None = None,
        guidance: float | None = None,
        top_p: float | None = None,
        draw_pixels: bool = False,
    ) -> np.ndarray:
        """Draws `n` images from the generator alone: the decoder's mean at draws from the prior, whose spread is
        multiplied by `temperature`.

        The noise is drawn in NumPy, so that one seed gives the same samples on every backend. Where the
        model is conditional and no labels are given, the classes take turns. Warns where the prior has not been fitted
        to the codes: of tokens, without a KL, or with a weight of the KL below 0.01.

        Args:
            temperature: of a hierarchy also one for each level, the top level first.
            guidance: how much the label counts, of a prior that knows codes with and without labels: 0 not at all, 1 as
                much as in training. The prior's own where `None`.
            top_p: of a prior that draws tokens one after another: only the likeliest codes that have this probability
                together.
            draw_pixels: from the likelihood, instead of their means.

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
        >>> vae.sample(3, seed=0).shape
        (3, 8, 8, 1)
        """
        if n < 1:
            raise InputError(f"cannot draw {n} samples; the count starts at 1")
        if not self.fills_prior:
            warnings.warn(
                "the codes of this model may be far from where its prior draws, and samples noise: fit a prior to them "
                "with train/prior.py",
                stacklevel=2,
            )
        self.check_temperature(temperature)
        ids = None
        if self.samples_classes:
            ids = checked_labels(
                np.arange(n) % len(self.class_names) if labels is None else labels, n, self.class_names
            )
        else:
            refuse_labels(labels)
        more = {"labels": ids} if self.prior.classes else {}
        for name, value in {"guidance": guidance, "top_p": top_p}.items():
            if value is not None:
                if name not in self.prior.takes:
                    raise InputError(f"the prior of this model takes no {name}; leave it out")
                more[name] = value
        random = np.random.default_rng(seed)
        z = self.draw_codes(n, random, temperature, ids, **more)
        return self.decode(z, ids if self.conditioning != "none" else None, random if draw_pixels else None)

    def draw_codes(self, n: int, random: np.random.Generator, temperature, ids, **more) -> np.ndarray:
        """What `decode` takes, from the prior. `ids` are labels (n,) or `None`; `more` goes to the prior."""
        return self.prior.sample(n, random, temperature, self.encode_pseudo_images, **more)

    def check_temperature(self, temperature) -> None:
        """Returns if samples can have that temperature, or raises an `InputError`."""
        if np.ndim(temperature):
            raise InputError(f"{np.size(temperature)} temperatures for one level of latents; give one")
        if not temperature >= 0:
            raise InputError(f"temperature {temperature} is not 0 or more; 1 is the prior's own spread")

    def propose(self, images, label, noise, current) -> tuple:
        """What a Markov chain over latents needs, all (n, *latent_shape): latents drawn from the posterior with the
        noise; the (mean, log-variance) that they were drawn from; those that `current` latents have there."""
        mean, log_var = backends.predict(self.encoder, self.encoder_inputs(images, label))
        return mean + np.exp(log_var / 2) * noise, (mean, log_var), (mean, log_var)

    def encode(self, images: np.ndarray, labels=None) -> tuple[np.ndarray, np.ndarray] | np.ndarray:
        """The posterior's `(z_mean, z_log_var)`, both (n, *latent_shape); of a discrete latent the tokens (n, h, w).

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
        >>> z_mean, z_log_var = vae.encode(np.zeros((5, 8, 8, 1)))
        >>> z_mean.shape
        (5, 2)
        """
        return self.latent.encoded(self._encoded(images, labels))

    def code(self, images: np.ndarray, labels=None) -> np.ndarray:
        """What stands for each image, (n, *latent_shape): the posterior mean, or the vectors of its tokens.

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.build_vae((8, 8, 1), (2, 2), latent="vq:16", width=4)
        >>> vae.code(np.zeros((5, 8, 8, 1))).shape
        (5, 2, 2, 16)
        """
        outputs = map(keras.ops.convert_to_tensor, self._encoded(images, labels))
        return keras.ops.convert_to_numpy(self.latent.mode(list(outputs)))

    def _encoded(self, images, labels) -> list[np.ndarray]:
        images = checked_images(images, self.image_shape)
        label = self.label_ids(labels, len(images)) if self.conditioning == "both" or labels is not None else None
        outputs = backends.predict(self.encoder, self.encoder_inputs(images, label), BATCH_SIZE)
        return keras.tree.flatten(outputs)

    def decode(self, z: np.ndarray, labels=None, random: np.random.Generator | None = None) -> np.ndarray:
        """The images (n, height, width, channels) of latents (n, *latent_shape), or of tokens (n, h, w).

        Args:
            random: draws pixels from the likelihood; their means where `None`.

        Raises:
            InputError: codes of another shape, or a likelihood whose pixels are not drawn.

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
        >>> vae.decode(np.zeros((4, 2))).shape
        (4, 8, 8, 1)
        """
        z = np.asarray(self.latent.decodable(z), "float32")
        if z.shape[1:] != self.latent_shape:
            shape = ", ".join(map(str, self.latent_shape))
            raise InputError(f"latents have the shape {z.shape}; this model takes (n, {shape})")
        label = self.label_ids(labels, len(z))
        output = backends.predict(self.decoder, self.decoder_inputs(z, label), BATCH_SIZE)
        if random is None:
            image = keras.ops.convert_to_numpy(self.likelihood.mean(keras.ops.convert_to_tensor(output)))
        else:
            image = self.likelihood.draw(output, random)
        return np.clip(image, 0.0, 1.0, dtype="float32")

    def reconstruct(self, images: np.ndarray, labels=None) -> np.ndarray:
        """The images decoded from their `code`.

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
        >>> vae.reconstruct(np.zeros((5, 8, 8, 1))).shape
        (5, 8, 8, 1)
        """
        return self.decode(self.code(images, labels), labels)

    def interpolate(self, start: np.ndarray, end: np.ndarray, steps: int = 8, labels=None) -> np.ndarray:
        """Images on the straight line between the codes of image pairs (n, ...).

        Returns:
            (n, steps, height, width, channels), from `start` to `end`; `labels` hold for a whole line.

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
        >>> vae.interpolate(np.zeros((2, 8, 8, 1)), np.ones((2, 8, 8, 1)), steps=4).shape
        (2, 4, 8, 8, 1)
        """
        if steps < 2:
            raise InputError(f"an interpolation of {steps} steps has no two ends; use 2 or more")
        first, last = self.code(start, labels), self.code(end, labels)
        share = np.linspace(0, 1, steps, dtype="float32").reshape(-1, *(1 for _ in self.latent_shape))
        z = first[:, None] * (1 - share) + last[:, None] * share
        repeated = None if labels is None else np.repeat(self.label_ids(labels, len(first)), steps)
        return self.decode(z.reshape(-1, *self.latent_shape), repeated).reshape(len(first), steps, *self.image_shape)

    def traverse(self, images: np.ndarray, count: int = 8, steps: int = 9, span: float = 2.5, labels=None):
        """The first image with one latent at a time moved over `span` standard deviations of the prior on both sides
        of its mean.

        Args:
            images: (n, ...); their mean KL to the standard normal ranks the latents.
            count: how many latents, the most informative first.

        Returns:
            The latents' numbers (count,) and images (count, steps, height, width, channels).

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.conv_vae((8, 8, 1), latent_dim=2, width=4)
        >>> latents, images = vae.traverse(np.zeros((3, 8, 8, 1)), count=2, steps=5)
        >>> images.shape
        (2, 5, 8, 8, 1)
        """
        if not self.latent.is_random:
            raise InputError("a traversal moves Gaussian latents, and this model has none; interpolate instead")
        z_mean, z_log_var = self.encode(images, labels)
        kl = keras.ops.convert_to_numpy(kl_per_latent(*map(keras.ops.convert_to_tensor, (z_mean, z_log_var))))
        latents = np.argsort(-kl.mean(0).ravel())[:count]
        z = np.tile(z_mean[0].ravel(), (len(latents), steps, 1))
        centre, spread = self._moments()
        for row, latent in enumerate(latents):
            z[row, :, latent] = centre[latent] + spread[latent] * np.linspace(-span, span, steps)
        label = None if labels is None else self.label_ids(labels, len(images))[0]
        images = self.decode(z.reshape(-1, *self.latent_shape), label)
        return latents, images.reshape(len(latents), steps, *self.image_shape)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each latent that the prior is of, (latents,)."""
        if self.prior.is_standard:
            return np.zeros(self.prior.latents), np.ones(self.prior.latents)
        draws = self.prior.sample(MOMENTS, np.random.default_rng(0), encode=self.encode_pseudo_images)
        draws = draws.reshape(MOMENTS, -1)
        return draws.mean(0), draws.std(0)

    complete = complete

    def log_likelihood(self, images: np.ndarray, labels=None, draws: int = 5000, seed: int = 0) -> np.ndarray:
        """log p(image) in nats, (n,) float64, by importance sampling with draws from the posterior: a lower bound that
        grows with their number (Burda et al. 2016, section 5). See `keras_ae.evaluation.likelihood`.

        >>> import keras_ae, numpy as np
        >>> vae = keras_ae.build_vae((8, 8, 1), latent_dim=2, network="mlp", width=4)
        >>> vae.log_likelihood(np.zeros((5, 8, 8, 1)), draws=10).shape
        (5,)
        """
        from keras_ae.evaluation.likelihood import log_likelihoods  # its floor is above this one

        images = checked_images(images, self.image_shape)
        label = self.label_ids(labels, len(images))

        def batch(places: slice) -> dict:
            return {"image": images[places]} | ({} if label is None else {"label": label[places]})

        return log_likelihoods(self, batch, len(images), draws, seed=seed)

    def label_ids(self, labels, n: int) -> np.ndarray | None:
        """Ids (n,) int32 for ids or class names, one for all or one each; `None` of a model that takes none.

        Raises:
            InputError: labels are missing, unknown, too few or many, or the model takes none.
        """
        if self.conditioning == "none":
            refuse_labels(labels)
            return None
        return checked_labels(labels, n, self.class_names)
