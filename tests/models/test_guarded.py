"""The contract of a step, on a model that owns two optimizers: a network trained against another."""

import importlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_ae
from keras_ae import InputError, NotFiniteError
from keras_ae.models.guarded import GuardedModel, SkippedSteps, Step, Terms
from tests.helpers import Fed, batch, dtype_policy, same_run, set_weights, small_vae, variables

to_numpy = ops.convert_to_numpy


class Adversaries(GuardedModel):
    """An autoencoder with noise, batch normalisation and a critic of its reconstructions."""

    def __init__(self, **kwargs):
        super().__init__(max_skipped_steps=3, term_names=("loss", "critic"), **kwargs)
        self.coder = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Flatten(),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(4, activation="tanh"),
                keras.layers.Dense(192),
                keras.layers.Reshape((8, 8, 3)),
            ]
        )
        self.critic = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
        self.noise = keras.random.SeedGenerator(5)
        set_weights(self.trainable_variables)
        self.built = True

    def variables_by_loss(self):
        return [self.coder.trainable_variables, self.critic.trainable_variables]

    def loss_terms(self, x, y=None, sample_weight=None, training=False):
        image = ops.cast(x["image"] if isinstance(x, dict) else x, "float32")
        output = ops.cast(self.coder(image, training=training), "float32")
        if training:
            output = output + 0.01 * keras.random.normal(ops.shape(output), dtype="float32", seed=self.noise)
        real, fake = (ops.cast(self.critic(images), "float32")[:, 0] for images in (image, ops.stop_gradient(output)))
        judged = ops.cast(self.critic(output), "float32")[:, 0]
        vectors = {
            "loss": ops.sum(ops.square(image - output), axis=(1, 2, 3)) - 0.1 * judged,
            "critic": ops.softplus(fake) + ops.softplus(-real),
        }
        return Step((ops.mean(vectors["loss"]), ops.mean(vectors["critic"])), vectors, {})

    def call(self, inputs):
        return self.coder(inputs)


class Scalars(GuardedModel):
    """Minimises a²b over a, and (a - b)² over b."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.a = self.add_weight(shape=(), initializer=keras.initializers.Constant(2.0), name="a")
        self.b = self.add_weight(shape=(), initializer=keras.initializers.Constant(3.0), name="b")
        self.built = True

    def variables_by_loss(self):
        return [[self.a], [self.b]]

    def loss_terms(self, x, y=None, sample_weight=None, training=False):
        a, b = ops.convert_to_tensor(self.a), ops.convert_to_tensor(self.b)
        losses = a * a * b, ops.square(a - b)
        return Step(losses, {"loss": losses[0] + ops.zeros_like(x[:, 0])}, {})


def adversaries(precision="float32", scale=128, ema=False):
    with dtype_policy(precision):
        model = Adversaries()
        model.compile([keras.optimizers.Adam(1e-3, use_ema=ema), keras.optimizers.SGD(1e-2, momentum=0.9)])
        if precision == "mixed_float16":  # a scale at which good steps do not overflow
            model.optimizer.initial_scale = scale
    return model


def test_each_optimizer_minimises_its_own_loss_over_its_own_variables():
    model = Scalars()
    model.compile([keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.1)])
    model.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    np.testing.assert_allclose(to_numpy(model.a.value), 2 - 0.01 * 2 * 2 * 3, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(model.b.value), 3 - 0.1 * 2 * (3 - 2), rtol=1e-6)


class Sharing(Scalars):
    """Its losses are computed from one product."""

    def loss_terms(self, x, y=None, sample_weight=None, training=False):
        product = ops.convert_to_tensor(self.a) * ops.convert_to_tensor(self.b)
        return Step((product, ops.square(product - 1)), {"loss": product + ops.zeros_like(x[:, 0])}, {})


def test_losses_may_share_what_they_are_computed_from():
    model = Sharing()
    model.compile([keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01)])
    model.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    np.testing.assert_allclose(to_numpy(model.a.value), 2 - 0.01 * 3, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(model.b.value), 3 - 0.01 * 2 * (6 - 1) * 2, rtol=1e-6)


class Single(GuardedModel):
    """Minimises one function of one number."""

    def __init__(self, function, start, **kwargs):
        super().__init__(**kwargs)
        self.a = self.add_weight(shape=(), initializer=keras.initializers.Constant(start), name="a")
        self.function = function
        self.built = True

    def loss_terms(self, x, y=None, sample_weight=None, training=False):
        loss = self.function(ops.convert_to_tensor(self.a))
        return Step((loss,), {"loss": loss + ops.zeros_like(x[:, 0])}, {})


INFINITE = {
    "the gradient": (ops.sqrt, 0.0),
    "the loss": (lambda a: a + float("inf"), 1.0),
}


@pytest.mark.parametrize("what", INFINITE)
def test_a_step_is_skipped_where_only_one_of_both_is_infinite(what):
    function, start = INFINITE[what]
    model = Single(function, start)
    model.compile(keras.optimizers.SGD(0.1))
    logs = model.fit(np.ones((2, 1), "float32"), batch_size=2, verbose=0).history
    assert logs["skipped_steps"] == [1]
    assert to_numpy(model.a.value) == start


def test_a_loss_scale_leaves_the_step_as_it_is():
    model = Single(ops.square, 2.0)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8))
    model.fit(np.ones((2, 1), "float32"), batch_size=2, verbose=0)
    np.testing.assert_allclose(to_numpy(model.a.value), 2 - 0.1 * 4, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="elsewhere metrics see no graph")
def test_metrics_hold_no_graph():
    seen = []

    class Watched(Scalars):
        def update_metrics(self, step, sample_weight, training):
            seen.extend([*step.losses, *step.vectors.values()])
            super().update_metrics(step, sample_weight, training)

    model = Watched()
    model.compile([keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.1)])
    model.fit(np.ones((4, 1), "float32"), verbose=0)
    assert len(seen) == 3
    assert not any(tensor.requires_grad for tensor in seen)


def test_both_are_trained_and_reported():
    model = adversaries()
    before = [to_numpy(variable.value).copy() for variable in model.trainable_variables]
    images = batch(32)["image"]
    logs = model.fit(images, batch_size=8, epochs=20, verbose=0).history
    assert logs.keys() == {"loss", "critic", "skipped_steps"}
    assert logs["loss"][-1] < logs["loss"][0]
    assert not any(logs["skipped_steps"])
    for variable, start in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(to_numpy(variable.value), start), variable.path
    assert model.evaluate(images, verbose=0, return_dict=True).keys() == {"loss", "critic"}
    assert [int(to_numpy(optimizer.iterations.value)) for optimizer in model.optimizer.optimizers] == [80, 80]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_poisoned_batch_changes_neither(precision):
    model = adversaries(precision)
    good = batch(8)["image"]
    model.fit(good, batch_size=4, epochs=2, verbose=0)
    before = variables(model)
    poisoned = good.copy()
    poisoned[:4, 0, 0, 0] = np.nan
    logs = model.fit(Fed(poisoned[:4], 4), verbose=0).history
    assert logs["skipped_steps"] == [1]
    assert np.isnan([logs["loss"], logs["critic"]]).all()
    names = [v.path for v in [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]]
    changed = {
        name for name, old, new in zip(names, before, variables(model), strict=True) if not np.array_equal(old, new)
    }
    # float16's loss scale must see the overflow; nothing else moves
    assert all("scale" in name or "step_counter" in name for name in changed), changed
    assert bool(changed) == (precision == "mixed_float16")


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the others never branch in Python")
def test_without_a_branch_in_python_a_step_is_the_same(monkeypatch):
    """What runs on a GPU, where Python would wait to know whether a step is finite; here on a CPU."""
    backend = importlib.import_module("keras_ae.backends.torch")
    images = batch(12)["image"]
    images[4:8, 0, 0, 0] = np.nan
    ends = []
    for waits in (False, True):
        monkeypatch.setattr(backend, "_waits", lambda tensor, waits=waits: waits)
        model = adversaries()
        logs = model.fit(Fed(images, 4), epochs=2, shuffle=False, verbose=0).history
        ends.append((logs, variables(model)))
    (branched, expected), (logs, found) = ends
    assert logs == branched
    assert logs["skipped_steps"] == [1, 1]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_holds_every_optimizer_bit_for_bit(tmp_path, dataset):
    def train(folder, stop_at=None):
        model = adversaries(ema=True)

        def stop(batch):
            if stop_at == (len(callbacks[0].epochs), batch):
                raise KeyboardInterrupt

        callbacks = [_Epochs(stop)]
        keras_ae.fit(
            model, dataset, folder, epochs=2, batch_size=8, checkpoint_steps=3, verbose=False, callbacks=callbacks
        )
        return model

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", stop_at=(1, 5))
    parts = train(tmp_path / "parts")
    same_run(tmp_path / "whole", tmp_path / "parts")
    for one, other in zip(variables(whole), variables(parts), strict=True):
        np.testing.assert_array_equal(one, other)


class _Epochs(keras.callbacks.Callback):
    def __init__(self, stop):
        super().__init__()
        self.stop, self.epochs = stop, []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        self.stop(batch)


def test_a_saved_compile_state_brings_both_optimizers_back(tmp_path):
    model = Scalars()
    model.compile([keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1)])
    config = model.get_compile_config()
    other = Scalars()
    other.compile_from_config(config)
    first, second = other.optimizer.optimizers
    assert isinstance(first, keras.optimizers.Adam)
    assert float(second.learning_rate.value) == pytest.approx(0.1)
    assert len(other.optimizer.variables) == len(first.variables) + len(second.variables)


def test_a_gradient_that_is_large_but_finite_is_not_skipped():
    model = Scalars()
    model.a.assign(1e19)
    model.b.assign(1.0)
    model.compile([keras.optimizers.SGD(1e-30), keras.optimizers.SGD(1e-30)])  # gradients of 2e19: squares overflow
    logs = model.fit(np.ones((1, 1), "float32"), batch_size=1, verbose=0).history
    assert logs["skipped_steps"] == [0]


def test_as_many_optimizers_as_losses():
    model = Scalars()
    model.compile([keras.optimizers.SGD(0.01)])
    with pytest.raises(InputError, match="1 optimizers for 2 losses; give one for each loss"):
        model.optimizer.build(model.trainable_variables)


def test_skipped_steps_in_a_row_are_counted_over_epochs_and_end_the_training():
    model = adversaries()
    images = batch(8)["image"]
    images[:] = np.nan
    with pytest.raises(NotFiniteError, match="4 steps in a row"):  # 2 in each epoch, looked at after each
        model.fit(Fed(images, 4), epochs=9, verbose=0)


def test_no_callback_of_ours_asks_for_the_logs_of_a_step():
    """Otherwise Keras turns them into numbers after each step, and waits for the device."""
    from keras_ae import callbacks, guards

    classes = [getattr(module, name) for module in (callbacks, guards) for name in dir(module)]
    classes = [cls for cls in classes if isinstance(cls, type) and issubclass(cls, keras.callbacks.Callback)]
    assert len(classes) > 5
    for cls in classes:
        assert cls.on_train_batch_end is keras.callbacks.Callback.on_train_batch_end, cls


def test_terms_are_means_over_images():
    terms = Terms(("loss", "kl", "psnr"))
    terms.update_state({"loss": ops.array([1.0, 3.0]), "kl": ops.array([2.0, 6.0])}, ops.array([1.0, 3.0]))
    terms.update_state({"loss": ops.array([5.0]), "kl": ops.array([7.0])}, ops.array([0.0]))
    results = {name: float(value) for name, value in terms.result().items()}
    assert np.isnan(results.pop("psnr"))
    assert results == {"loss": 3.0, "kl": 5.0}
    terms.reset_state()
    assert np.isnan(float(terms.result()["loss"]))
    assert Terms.from_config(terms.get_config()).names == terms.names


def test_small_weights_count():
    terms = Terms(("loss", "kl"))
    terms.update_state({"loss": ops.array([1.0, 3.0]), "kl": ops.array([2.0, 6.0])}, ops.array([0.1, 0.3]))
    np.testing.assert_allclose([float(value) for value in terms.result().values()], [2.0, 5.0], rtol=1e-6)


def test_one_epoch_and_20_skipped_steps_where_nothing_else_is_asked_for():
    model = Scalars()
    assert model.max_skipped_steps == 20
    model.compile([keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.1)])
    assert len(model.fit(np.ones((4, 1), "float32"), verbose=0).epoch) == 1


def test_skipped_steps_are_counted_and_so_are_those_in_a_row():
    metric = SkippedSteps()
    for skipped in (True, True, False, True, True, True):
        metric.update_state(ops.convert_to_tensor(skipped))
    assert float(metric.result()) == 5
    assert float(metric.in_a_row.value) == 3
    metric.reset_state()
    assert float(metric.result()) == 0
    assert float(metric.in_a_row.value) == 3


def test_networks_may_name_their_layers_alike():
    """On torch, `zero_grad` then forgets the gradients of some, which grow from step to step."""

    def trained(first: str, second: str) -> list[np.ndarray]:
        image, z = keras.Input((2, 2, 1)), keras.Input((1,))
        flat = keras.layers.Flatten()(image)
        encoder = keras.Model(image, [keras.layers.Dense(1, "tanh", name=name)(flat) for name in (first, "spread")])
        decoder = keras.Model(z, keras.layers.Reshape((2, 2, 1))(keras.layers.Dense(4, "tanh", name=second)(z)))
        set_weights(encoder.weights + decoder.weights)
        vae = keras_ae.VAE(encoder, decoder)
        vae.compile(keras.optimizers.SGD(0.1))
        vae.fit(batch(12, (2, 2, 1))["image"], batch_size=2, verbose=0, shuffle=False)
        return vae.get_weights()

    for one, other in zip(trained("code", "code"), trained("code", "image"), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def gradient_step(**kwargs):
    """The norm of a step of gradient descent at a rate of 1, and what it reports."""
    vae = small_vae(conditioning="none")
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=kwargs.pop("clip_norm", None))
    vae.compile(optimizer, **kwargs)
    before = list(map(to_numpy, vae.trainable_variables))
    history = vae.fit(batch(4)["image"], batch_size=4, shuffle=False, verbose=0).history
    after = map(to_numpy, vae.trainable_variables)
    moved = sum(np.square(new - old, dtype="float64").sum() for new, old in zip(after, before, strict=True))
    return float(np.sqrt(moved)), {name: values[0] for name, values in history.items()}


def test_a_step_of_a_large_norm_is_skipped_and_counted():
    norm, reported = gradient_step()
    assert norm > 0
    assert "clipped_steps" not in reported
    assert reported["skipped_steps"] == 0
    below, reported = gradient_step(skip_norm=1.001 * norm)
    np.testing.assert_allclose(below, norm, rtol=1e-5)
    assert reported["skipped_steps"] == 0
    above, reported = gradient_step(skip_norm=0.999 * norm)
    assert (above, reported["skipped_steps"]) == (0, 1)


def test_clipped_steps_are_counted():
    norm, _ = gradient_step()
    for share, clipped in ((1.001, 0), (0.999, 1), (0.5, 1)):
        found, reported = gradient_step(clip_norm=share * norm)
        np.testing.assert_allclose(found, min(share, 1) * norm, rtol=1e-4)
        assert (reported["clipped_steps"], reported["skipped_steps"]) == (clipped, 0)
    _, reported = gradient_step(clip_norm=0.5 * norm, skip_norm=0.9 * norm)
    assert (reported["clipped_steps"], reported["skipped_steps"]) == (0, 1)


def test_norms_are_of_the_first_loss():
    """That of a model with a discriminator is the model's, not the discriminator's."""

    def reported(**kwargs):
        model = Adversaries()
        first = keras.optimizers.SGD(1.0, global_clipnorm=kwargs.pop("clip_norm", None))
        model.compile([first, keras.optimizers.SGD(1.0)], **kwargs)
        before = [list(map(to_numpy, group)) for group in model.variables_by_loss()]
        history = model.fit(batch(4)["image"], batch_size=4, shuffle=False, verbose=0).history
        pairs = zip(before, model.variables_by_loss(), strict=True)
        norms = [
            sum(np.square(to_numpy(new) - old).sum() for old, new in zip(*pair, strict=True)) ** 0.5 for pair in pairs
        ]
        return norms, history

    (own, other), history = reported()
    assert other > 0.01 * own
    assert "clipped_steps" not in history
    for share, steps in ((0.99, 1), (1.01, 0)):
        assert reported(clip_norm=float(share * own))[1]["clipped_steps"] == [steps]
        assert reported(skip_norm=float(share * own))[1]["skipped_steps"] == [steps]


def test_a_norm_that_no_step_has_ends_the_training():
    vae = small_vae(conditioning="none", max_skipped_steps=3)
    vae.compile("adam", skip_norm=1e-6)
    with pytest.raises(
        NotFiniteError,
        match=r"3 steps in a row .* not finite, or whose norm is above 1e-06. .* Raise skip_norm; or: lower",
    ):
        vae.fit(batch(8)["image"], batch_size=2, verbose=0)


def test_norms_of_scaled_losses_are_refused():
    with dtype_policy("mixed_float16"):
        vae = small_vae(conditioning="none")
    with pytest.raises(InputError, match="skip_norm -1 would skip all steps; give more than 0"):
        small_vae().compile("adam", skip_norm=-1)
    with pytest.raises(InputError, match="leave out skip_norm, or take bfloat16"):
        vae.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), skip_norm=5.0)
    vae.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(global_clipnorm=1.0)))
    assert "clipped_steps" not in vae.fit(batch(4)["image"], verbose=0).history


def test_a_saved_model_goes_on_with_its_norms(tmp_path):
    vae = small_vae(conditioning="none")
    vae.compile(keras.optimizers.SGD(0.1, global_clipnorm=2.0), skip_norm=7.0)
    vae.fit(batch(4)["image"], verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.skip_norm == 7
    assert "clipped_steps" in loaded.fit(batch(4)["image"], verbose=0).history
