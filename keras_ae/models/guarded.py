"""A model whose steps are guarded, for one optimizer or several, on every backend."""

from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ae import backends
from keras_ae.errors import InputError
from keras_ae.guards import StopOnSkippedSteps
from keras_ae.optimizers import OptimizerGroup

ANY = "only_first_replica"  # of what is the same on all devices, and no sum over them


class Step(NamedTuple):
    """What a model says of a batch.

    Attributes:
        losses: a scalar to minimise for each optimizer that the model owns, in the order of `variables_by_loss`.
        vectors: (batch,) by name: what is reported as a mean over images.
        outputs: what other metrics look at, by name.
    """

    losses: tuple
    vectors: dict[str, Any]
    outputs: dict[str, Any]


class Draws:
    """The random numbers of `loss_terms`, which a backend may keep, or draw before the rest of the step."""

    def __init__(self):
        self._kept = None
        self._given = None

    def normal(self, shape, seed: keras.random.SeedGenerator):
        """Standard normal, float32."""
        if self._given is not None:
            return next(self._given)
        values = keras.random.normal(shape, dtype="float32", seed=seed)
        if self._kept is not None:
            self._kept.append((shape, seed, values))
        return values

    @contextmanager
    def kept(self):
        """Gives a list of what is drawn within, (shape, seed, values) each."""
        self._kept = kept = []
        try:
            yield kept
        finally:
            self._kept = None

    @contextmanager
    def given(self, values):
        """What is drawn within are these, one after another."""
        self._given = iter(values)
        try:
            yield
        finally:
            self._given = None


class GuardedModel(keras.Model):
    """A `keras.Model` that owns its losses, and one optimizer or several.

    A subclass gives `loss_terms`, and where it owns several optimizers `variables_by_loss`. A step
    whose losses or gradients are not all finite changes nothing and is counted in `skipped_steps`.

    What changes without a gradient (running statistics, codebooks) is a non-trainable variable that `loss_terms`
    assigns. The guard rolls it back, too. Random numbers come from `self.draws`.

    Where the optimizer clips the norm of the whole gradient, `clipped_steps` says how often.

    Args:
        max_skipped_steps: so many skipped steps in a row end the training with a `NotFiniteError`.
        term_names: of the vectors that are reported.
    """

    _evaluation_start = None  # of a model that draws no noise

    def __init__(self, *, max_skipped_steps: int = 20, term_names: tuple[str, ...] = ("loss",), **kwargs):
        super().__init__(**kwargs)
        self.max_skipped_steps = max_skipped_steps
        self.draws = Draws()
        self.traced_losses = None
        self.terms = Terms(term_names)
        self.skipped_steps = SkippedSteps()
        self.skip_norm = self.clip_norm = None
        self.clipped_steps = None

    def make_noise(self, seed: int) -> None:
        """Makes the streams of `normal`: training's own, and evaluation's, which begins again each time."""
        # Wide apart: on torch seed s, draw n + 1 is seed s + 1, draw n.
        streams = np.random.SeedSequence(seed).generate_state(2) >> 1
        self.training_noise = keras.random.SeedGenerator(int(streams[0]))
        self.evaluation_noise = keras.random.SeedGenerator(int(streams[1]))
        self._evaluation_start = ops.convert_to_numpy(self.evaluation_noise.state.value)

    def normal(self, shape, training: bool):
        """Standard normal, from training's own stream or evaluation's: on several devices, rows of one draw for all."""
        seed = self.training_noise if training else self.evaluation_noise
        return backends.own(lambda rows: self.draws.normal((rows, *shape[1:]), seed), shape[0])

    def loss_terms(self, x, y=None, sample_weight=None, training=False) -> Step:
        """The losses of a batch and what is reported of it."""
        raise NotImplementedError

    def shipped(self) -> keras.Model:
        """The model that learns, and is saved."""
        return self

    def variables_by_loss(self) -> list[list]:
        """The trainable variables that each loss is minimised over: together all, each once."""
        return [self.trainable_variables]

    def compile(self, optimizer="adam", *, skip_norm: float | None = None, **kwargs):
        """As `keras.Model.compile`, without losses.

        Args:
            optimizer: one, or a list with one for each loss.
            skip_norm: a step is skipped, too, if the gradient of the first loss has a norm above it, before it is
                clipped (Child 2021, "Very deep VAEs", section 5): such a batch would undo much. Take more than the
                first steps have. `None`: no step is skipped for its norm.

        Raises:
            InputError: losses; a norm that is not above 0, or with losses that are scaled.
        """
        if kwargs.keys() & {"loss", "loss_weights", "weighted_metrics"}:
            raise InputError(f"a {type(self).__name__} brings its loss; compile takes an optimizer and metrics")
        if isinstance(optimizer, list | tuple):
            optimizer = OptimizerGroup(optimizer)
        if isinstance(optimizer, OptimizerGroup):
            optimizer.variables_by_loss = self.variables_by_loss
        super().compile(optimizer=optimizer, **kwargs)
        self.skip_norm = skip_norm
        is_scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if skip_norm is not None and not skip_norm > 0:
            raise InputError(f"skip_norm {skip_norm} would skip all steps; give more than 0")
        if skip_norm and is_scaled:
            raise InputError("the norms of scaled gradients say nothing; leave out skip_norm, or take bfloat16")
        first = getattr(self.optimizer, "optimizers", [self.optimizer])[0]
        self.clip_norm = None if is_scaled else getattr(first, "global_clipnorm", None)
        self.clipped_steps = ClippedSteps() if self.clip_norm else None
        backends.speed_up(self.optimizer)

    def gradient_norm(self, gradients, variables):
        """Of all together that belong to the first loss, a scalar; `None` where nobody asks for it. Some gradients may
        be `None`."""
        if not self.skip_norm and self.clipped_steps is None:
            return None
        own = set(map(id, self.variables_by_loss()[0]))
        pairs = zip(gradients, variables, strict=True)
        own = [gradient for gradient, variable in pairs if id(variable) in own and gradient is not None]
        return ops.sqrt(sum(ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in own))

    def accepts(self, finite, norm):
        """Whether a step changes anything, whose losses and gradients are `finite` and have that norm."""
        return ops.logical_and(finite, norm <= self.skip_norm) if self.skip_norm else finite

    def count_step(self, accepted, norm) -> None:
        self.skipped_steps.update_state(ops.logical_not(accepted))
        if self.clipped_steps is not None:
            self.clipped_steps.update_state(ops.logical_and(accepted, norm > self.clip_norm))

    def get_compile_config(self):
        # What "auto" means depends on the backend that loads the file.
        config = super().get_compile_config()
        portable = {name: config[name] for name in ("optimizer", "steps_per_execution") if name in config}
        return {**portable, "skip_norm": self.skip_norm, "jit_compile": "auto"} if portable else {}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [*keras.tree.flatten(callbacks or []), StopOnSkippedSteps(self.max_skipped_steps)]
        if not isinstance(x, np.ndarray | dict | list | tuple | keras.utils.PyDataset):
            kwargs.setdefault("shuffle", False)  # Keras cannot shuffle a stream, and warns of it
        synchronise(self)
        self.traced_losses = backends.traced_losses(self)
        try:
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)
        finally:
            self.traced_losses = None

    def evaluate(self, *args, **kwargs):
        if self._evaluation_start is not None:  # the same noise each time: epochs compare
            self.evaluation_noise.state.assign(self._evaluation_start)
        if self.compiled:
            return super().evaluate(*args, **kwargs)
        super().compile(optimizer=None)  # Keras evaluates compiled models only
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self.compiled = False

    def _maybe_symbolic_build(self, **_):
        """Nothing is left to build. On several devices Keras's TensorFlow would add up their first batches, also where
        these have other sizes."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The sum of the losses: Keras's own name for what a step minimises."""
        return sum(self.loss_terms(x, y, sample_weight, training).losses)

    def train_step(self, *args):
        return backends.train_step(self, *args)

    def test_step(self, *args):
        return backends.test_step(self, *args)

    def unpack(self, data):
        """x, y and the weight of each image (batch,) float32, or `None`, of what `fit` gives a step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            sample_weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        return x, y, sample_weight

    @property
    def step_metrics(self) -> list:
        return [metric for metric in (self.skipped_steps, self.clipped_steps) if metric is not None]

    @property
    def metrics(self):
        return [self.terms, *self.step_metrics]

    def update_metrics(self, step: Step, sample_weight, training: bool):
        self.terms.update_state(step.vectors, sample_weight)

    def metric_results(self, training: bool) -> dict:
        results = self.terms.result()
        return results | {metric.name: metric.result() for metric in self.step_metrics} if training else results


def shipped(model: keras.Model) -> keras.Model:
    """What is saved of a model that trains: itself, or what it trains.

    >>> network = keras.Sequential()
    >>> shipped(network) is network
    True
    """
    return model.shipped() if isinstance(model, GuardedModel) else model


def synchronise(model: keras.Model) -> None:
    """Makes the steps of a compiled model those of all devices, where there are several; `GuardedModel.fit` does it.

    Raises:
        InputError: each device would train a model of its own.
    """
    step = type(model).train_step
    steps = {GuardedModel.train_step: "guarded", keras.Model.train_step: "stock"}.get(step, "own")
    backends.synchronise(model, steps)


@keras.saving.register_keras_serializable("keras_ae")
class Terms(keras.metrics.Metric):
    """Means over images of several vectors at once: one small update a step where a `Mean` for each takes many.

    Images count by their sample weights, but for `loss`, in which the weights are already: its mean is over the number
    of images. A mean over nothing is NaN: no epoch is the best because all its steps were skipped.
    """

    def __init__(self, names, name: str = "terms", **kwargs):
        super().__init__(name=name, **kwargs)
        self.names = tuple(names)
        self.totals = self.add_variable((len(self.names),), "zeros", name="totals")
        self.weights = self.add_variable((len(self.names),), "zeros", name="weights")

    def update_state(self, vectors: dict, sample_weight=None):
        """Adds vectors (batch,) by name. Those that are missing stay as they are."""
        ones = ops.ones_like(vectors["loss"])
        weight = ones if sample_weight is None else sample_weight
        weights = [(ones if name == "loss" else weight) if name in vectors else 0 * ones for name in self.names]
        weights = ops.stack(weights)
        values = ops.stack([ops.cast(vectors.get(name, ones), self.dtype) for name in self.names])
        self.totals.assign_add(ops.sum(values * weights, axis=1))
        self.weights.assign_add(ops.sum(weights, axis=1))

    def result(self) -> dict:
        totals, weights = ops.convert_to_tensor(self.totals), ops.convert_to_tensor(self.weights)
        means = totals / weights
        return {name: means[number] for number, name in enumerate(self.names)}

    def get_config(self):
        return {**super().get_config(), "names": self.names}


@keras.saving.register_keras_serializable("keras_ae")
class SkippedSteps(keras.metrics.Metric):
    """How many steps of the epoch were skipped. `in_a_row` counts on over epochs, up to the last step."""

    def __init__(self, name: str = "skipped_steps", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total", aggregation=ANY)
        self.in_a_row = self.add_variable((), "zeros", name="in_a_row", aggregation=ANY)

    def update_state(self, skipped):
        skipped = ops.cast(skipped, self.dtype)
        self.total.assign_add(skipped)
        self.in_a_row.assign((self.in_a_row + 1.0) * skipped)

    def reset_state(self):
        self.total.assign(0.0)

    def result(self):
        return self.total + 0.0


@keras.saving.register_keras_serializable("keras_ae")
class ClippedSteps(keras.metrics.Metric):
    """How many steps of the epoch had their gradient clipped."""

    def __init__(self, name: str = "clipped_steps", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total", aggregation=ANY)

    def update_state(self, clipped):
        self.total.assign_add(ops.cast(clipped, self.dtype))

    def result(self):
        return self.total + 0.0
