"""Levels of latents, and the walk down through them."""

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ae.errors import InputError
from keras_ae.objectives import log_normal, reparameterize

MOST_LOG_VAR = 10.0


class Level(NamedTuple):
    """The networks of a level of latents, functional models.

    Attributes:
        merge: features from above and the level's latents -> features, where the next level is or the image begins. Of
            the top level: the latents[, and the label].
        prior: features from above -> mean and log-variance of the latents. `None` of the top level, whose prior is the
            model's.
        posterior: features from above and the encoder's -> mean and log-variance. `None` of the top level, whose
            posterior the encoder gives.

    >>> Level._fields
    ('merge', 'prior', 'posterior')
    """

    merge: keras.Model
    prior: keras.Model | None = None
    posterior: keras.Model | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the latents."""
        return tuple(self.merge.inputs[0 if self.prior is None else 1].shape[1:])


class Walk(NamedTuple):
    """What a walk down finds, a list with an entry for each level: latents, the posterior's (mean, log-variance) or
    `None`, the prior's, `None` of the top level; and the features below the last.

    >>> Walk._fields
    ('latents', 'posteriors', 'priors', 'features')
    """

    latents: list
    posteriors: list
    priors: list
    features: object


def applied(network, inputs):
    return network(inputs)


def walk_down(levels: list[Level], label, draw, seen=None, call=applied) -> Walk:
    """Down all levels, by the posterior where the encoder has `seen` an image, else by the prior.

    Args:
        label: of the top level's merge, or `None`.
        draw: function of a level's number, mean and log-variance (`None` of the model's prior) -> its latents.
        seen: the encoder's outputs, for each draw.
        call: a network with inputs.
    """
    found, above = Walk([], [], [], None), None
    for number, level in enumerate(levels):
        prior = posterior = None
        if number:
            prior = bounded(call(level.prior, above))
        if seen is not None:
            posterior = seen[:2] if not number else call(level.posterior, [above, seen[number + 1]])
            posterior = bounded(posterior)
        z = draw(number, *(posterior or prior or (None, None)))
        for values, value in zip(found, (z, posterior, prior), strict=False):
            values.append(value)
        merged = [above, z] if number else [z] if label is None else [z, label]
        above = call(level.merge, merged if len(merged) > 1 else z)
    return found._replace(features=above)


def bounded(outputs) -> tuple:
    """Mean and log-variance, of which the latter cannot run away (Vahdat & Kautz 2020, "NVAE", whose code bounds it
    so): a prior that is too sure of itself would make a step's loss infinite."""
    mean, log_var = (ops.cast(x, "float32") for x in outputs)
    return mean, MOST_LOG_VAR * ops.tanh(log_var / MOST_LOG_VAR)


def check_levels(levels: list[Level], encoder: keras.Model) -> None:
    """Returns if there are several, and each is whole."""
    if len(levels) < 2:
        raise InputError(f"{len(levels)} level is no hierarchy; give two or more")
    outputs = len(getattr(encoder, "outputs", []))
    if outputs != len(levels) + 1:
        raise InputError(
            f"the encoder gives {outputs} outputs; for {len(levels)} levels it must give the mean and log-variance of "
            f"the top one, and features for {len(levels) - 1} below"
        )
    for number, level in enumerate(levels[1:], 2):
        if level.prior is None or level.posterior is None:
            raise InputError(f"level {number} needs a merge, a prior and a posterior: only the top has the model's own")
        for name in ("prior", "posterior"):
            found = [tuple(tensor.shape[1:]) for tensor in getattr(level, name).outputs]
            if found != [level.shape] * 2:
                raise InputError(f"the {name} of level {number} gives {found}; it must give twice {level.shape}")


def decoder_of(levels: list[Level], head: keras.Model, labelled: bool) -> keras.Model:
    """All levels' latents in a row[, label] -> parameters of the likelihood."""
    shapes = [level.shape for level in levels]
    z = keras.Input((sum(map(math.prod, shapes)),), name="z")
    label = keras.Input((), dtype="int32", name="label") if labelled else None
    latents = split(z, shapes)
    features = walk_down(levels, label, lambda number, *_: latents[number]).features
    return keras.Model([z, label] if labelled else z, head(features), name="decoder")


def from_noise(noise, shapes):
    """Function of a level's number, mean and log-variance -> a draw."""
    noise = split(noise, shapes)
    return lambda number, mean, log_var: reparameterize(mean, log_var, noise[number])


def split(row, shapes) -> list:
    """(n, latents) -> the latents of each level, (n, *shape)."""
    ends = np.cumsum(list(map(math.prod, shapes)))
    parts = [row[:, end - math.prod(shape) : end] for end, shape in zip(ends, shapes, strict=True)]
    return [ops.reshape(part, (-1, *shape)) for part, shape in zip(parts, shapes, strict=True)]


def in_a_row(values):
    """The reverse of `split`."""
    return ops.concatenate([ops.reshape(x, (-1, math.prod(x.shape[1:]))) for x in values], axis=1)


def log_density(latents: list, moments: list):
    """The sum over levels of log N(z; mean, exp(log_var)), (n,)."""
    return sum(total(log_normal(z, *own)) for z, own in zip(latents, moments, strict=True))


def total(values):
    """Of each image, (n,)."""
    return ops.sum(ops.reshape(values, (-1, math.prod(values.shape[1:]))), axis=1)
