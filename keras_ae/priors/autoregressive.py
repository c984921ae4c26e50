"""A transformer over tokens."""

import keras
import numpy as np
from keras import layers, ops

from keras_ae.errors import InputError
from keras_ae.priors.base import DROPPED, MOST_BLOCKS, Prior, check_network, named

HEAD = 32  # features of a head of attention
BATCH_SIZE = 128  # images that are sampled at once
GUIDANCE = 1.0


@keras.saving.register_keras_serializable("keras_ae")
class Autoregressive(Prior):
    """The tokens of an image one after another, row by row, each given those before it, by a causal transformer (van
    den Oord et al. 2017, section 3.3, has a PixelCNN there; Esser et al. 2021, section 3.2, a transformer). Fitted to
    the tokens of a trained model. It knows their density, so that the model's ELBO is one.

    Samples are drawn: a token at a time, with the keys and values of those before it kept. One label in ten is left out
    while training, so that samples can be guided (Ho & Salimans 2022).

    Args:
        width: features of the network, a multiple of 32.
        blocks: of the network, attention and two dense layers each.
        classes: how many labels there are; 0: codes have none.

    Raises:
        InputError: a width that is not a multiple of 32, or less than 1 block or more than 100.

    >>> prior = Autoregressive(width=32, blocks=1)
    >>> prior.build((None, 2, 2, 3), codes=16)
    >>> prior.sample(4, np.random.default_rng(0)).shape
    (4, 2, 2)
    """

    number = ("width", int)
    has_network = True
    is_of_tokens = True

    def __init__(self, width: int = 128, blocks: int = 4, classes: int = 0, **kwargs):
        super().__init__(**kwargs)
        check_network(width, blocks, HEAD, MOST_BLOCKS)
        self.width = width
        self.blocks = blocks
        self.classes = classes
        self.takes = ("guidance", "top_p") if self.classes else ("top_p",)

    def build(self, latent_shape, image_shape=None, codes=None):
        super().build(latent_shape, codes=codes)
        self.network = self.make_network()
        self.network.trainable = False
        self._of_places = None

    def make_network(self) -> keras.Model:
        """The tokens before each place (batch, places), of which the first is `codes`; the places' numbers; labels
        (batch,) -> logits (batch, places, codes)."""
        before, place = (keras.Input((self.places,), dtype="int32", name=name) for name in ("before", "place"))
        label = keras.Input((), dtype="int32", name="label")
        token = layers.Embedding(self.codes + 1, self.width, name="token")(before)
        of_place = layers.Embedding(self.places, self.width, name="of_place")(place)
        of_label = layers.Embedding(self.classes + 1, self.width, name="of_label")(label)
        x = layers.Add()([token, of_place, layers.Reshape((1, self.width))(of_label)])
        for number in range(self.blocks):
            x, _ = CausalBlock(name=f"block_{number}")(x)
        x = layers.LayerNormalization(name="norm")(x)
        logits = layers.Dense(self.codes, dtype="float32", name="logits")(x)
        return keras.Model([before, place, label], logits, name="transformer")

    def losses(self, network, code, label, normal):
        """Cross-entropy of a network's logits, nats a token, (batch,).

        Args:
            code: tokens (batch, h, w).
            label: (batch,), or `None`.
            normal: function of a shape -> standard normal noise.
        """
        left_out = normal(ops.shape(code)[:1]) < DROPPED
        return ops.mean(self._cross_entropies(network, code, self._labels(code, label, left_out)), axis=1)

    def log_prob(self, z, encode=None):
        """Of images of all classes together."""
        return -ops.sum(self._cross_entropies(self.network, z, self._labels(z)), axis=1)

    def _labels(self, code, label=None, left_out=None):
        """(batch,), where a label that is left out has a number of its own."""
        none = ops.full((ops.shape(code)[0],), self.classes, dtype="int32")
        return none if label is None or not self.classes else ops.where(left_out, none, ops.cast(label, "int32"))

    def _cross_entropies(self, network, code, label):
        tokens = ops.reshape(ops.cast(code, "int32"), (-1, self.places))
        before = ops.concatenate([ops.full_like(tokens[:, :1], self.codes), tokens[:, :-1]], axis=1)
        place = ops.broadcast_to(ops.arange(self.places, dtype="int32"), ops.shape(tokens))
        return keras.losses.sparse_categorical_crossentropy(tokens, network([before, place, label]), from_logits=True)

    def sample(self, n, random, temperature=1.0, encode=None, labels=None, guidance=None, top_p=1.0):
        """See `Prior`; `top_p` (0 to 1): only the likeliest codes that have this probability together (Holtzman et al.
        2020, "The curious case of neural text degeneration", section 3.1)."""
        if not temperature or not 0 < top_p <= 1:
            raise InputError(
                f"temperature {temperature} and top_p {top_p} leave nothing to draw; give more than 0, and a top_p of "
                "1 at most"
            )
        shares = random.random((n, self.places))
        labels = np.full(n, self.classes) if labels is None or not self.classes else np.asarray(labels)
        guidance = GUIDANCE if guidance is None else guidance
        parts = (slice(start, start + BATCH_SIZE) for start in range(0, n, BATCH_SIZE))
        tokens = [self._drawn(shares[part], labels[part], temperature, guidance, top_p) for part in parts]
        return np.concatenate(tokens).reshape(n, *self.latent_shape[:-1])

    def _drawn(self, shares, labels, temperature: float, guidance: float, top_p: float) -> np.ndarray:
        """Tokens (n, places) for uniform shares (n, places) of the probability of each."""
        n, places = shares.shape
        rows = np.concatenate([labels, np.full(n, self.classes)]) if guidance != 1 else labels
        rows = rows.astype("int32")
        kept = np.zeros((len(rows), self.blocks, 2, places, self.width), "float32")
        before = np.full((n, places + 1), self.codes, "int32")
        for place in range(places):
            token = np.resize(before[:, place], (len(rows), 1))
            logits, new = self._network_of_places().predict_on_batch([token, np.full_like(token, place), rows, kept])
            kept[:, :, :, place] = new[:, :, :, 0]
            logits = logits[:, 0].astype("float64")
            if guidance != 1:
                with_label, without = np.split(logits, 2)
                logits = without + guidance * (with_label - without)
            before[:, place + 1] = drawn(logits / temperature, shares[:, place], top_p)
        return before[:, 1:]

    def _network_of_places(self) -> keras.Model:
        """The network for one place an image: it takes the keys and values of all places as well, and gives this
        one's."""
        if self._of_places is None:
            model = self._made_of_places()
            self._of_places = lambda: model  # hidden from Keras: it has no weights of its own
        return self._of_places()

    def _made_of_places(self) -> keras.Model:
        layer = self.network.get_layer
        token, place = (keras.Input((1,), dtype="int32") for _ in range(2))
        label = keras.Input((), dtype="int32")
        kept = keras.Input((self.blocks, 2, self.places, self.width))
        of_label = layers.Reshape((1, self.width))(layer("of_label")(label))
        x = layers.Add()([layer("token")(token), layer("of_place")(place), of_label])
        new = []
        for number in range(self.blocks):
            x, one = layer(f"block_{number}")(x, kept[:, number], place)
            new.append(one)
        return keras.Model([token, place, label, kept], [layer("logits")(layer("norm")(x)), ops.stack(new, axis=1)])

    def step(self, encode=None):
        """The logits of the code at a `place`, given the `token` before, which is the number of codes at the first, and
        what is `kept` of the places before, zeros at the first. The number of classes as a label is none."""
        token, place, label = (keras.Input((), dtype="int32", name=name) for name in ("token", "place", "label"))
        kept = keras.Input((self.blocks, 2, self.places, self.width), name="kept")
        logits, new = self._network_of_places()([token[:, None], place[:, None], label, kept])
        here = ops.equal(np.arange(self.places, dtype="int32"), place[:, None])[:, None, None, :, None]
        outputs = [named(logits[:, 0], "logits"), named(ops.where(here, new, kept), "next_kept")]
        return keras.Model([token, place, label, kept], outputs)

    def scratch(self, inputs, outputs) -> int:
        """What the network computes of an image, at most."""
        heads = self.width // HEAD
        return (self.blocks + 1) * self.places * (20 * self.width + 4 * heads * self.places) + 4 * self.places * (
            self.codes or 1
        )

    def get_config(self):
        return {**super().get_config(), "width": self.width, "blocks": self.blocks, "classes": self.classes}


def drawn(logits: np.ndarray, shares: np.ndarray, top_p: float = 1.0) -> np.ndarray:
    """Codes (n,) whose cumulative probability reaches shares (n,) in [0, 1), for logits (n, codes). The order of codes
    is their numbers', so that only a share at the very edge of a code depends on rounding.

    >>> drawn(np.log([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]), np.array([0.1, 0.6])).tolist()
    [0, 2]
    >>> drawn(np.log([[0.2, 0.3, 0.5]]), np.array([0.1]), top_p=0.7).tolist()  # without the first
    [1]
    """
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    if top_p < 1:
        falling = -np.sort(-weights, axis=1)
        above = np.cumsum(falling, axis=1) - falling < top_p  # the likeliest always
        least = np.where(above, falling, 1).min(1, keepdims=True)
        weights = np.where(weights >= least, weights, 0)
    ends = np.cumsum(weights, axis=1)
    return (shares[:, None] * ends[:, -1:] >= ends).sum(1)


class CausalBlock(layers.Layer):
    """Attention to the places before, and two dense layers, each added to its input (Vaswani et al. 2017; normalised
    first, as Radford et al. 2019).

    Calling it with `x` (batch, places, width) gives the same shape, and the places' keys and values (batch, 2, places,
    width). Given one place (batch, 1, width), the `kept` keys and values of all places and the `place` (batch, 1), it
    attends to those before.

    >>> x, kept = CausalBlock()(ops.zeros((2, 5, 64)))
    >>> tuple(kept.shape)
    (2, 2, 5, 64)
    """

    def build(self, x_shape, *_):
        width = x_shape[-1]
        self.heads = width // HEAD
        self.norms = [layers.LayerNormalization(name=f"norm_{number}") for number in range(2)]
        self.projections = layers.Dense(3 * width, name="projections")
        self.attended = layers.Dense(width, kernel_initializer="zeros", name="attended")
        self.wide = layers.Dense(4 * width, activation="gelu", name="wide")
        self.narrow = layers.Dense(width, kernel_initializer="zeros", name="narrow")
        for layer in (*self.norms, self.projections, self.attended, self.wide):
            layer.build((None, None, width))
        self.narrow.build((None, None, 4 * width))

    def call(self, x, kept=None, place=None):
        query, key, value = ops.split(self.projections(self.norms[0](x)), 3, axis=-1)
        new, mask = ops.stack([key, value], axis=1), None
        if kept is not None:
            places = ops.arange(kept.shape[2])
            here = ops.equal(places, place)[:, :, None]
            key, value = ops.where(here, key, kept[:, 0]), ops.where(here, value, kept[:, 1])
            mask = ops.less_equal(places, place)[:, None, None]
        y = ops.dot_product_attention(*map(self._by_head, (query, key, value)), mask=mask, is_causal=kept is None)
        x = x + self.attended(ops.reshape(y, ops.shape(x)))
        x = x + self.narrow(self.wide(self.norms[1](x)))
        return x, new

    def _by_head(self, x):
        return ops.reshape(x, (*ops.shape(x)[:2], self.heads, HEAD))
