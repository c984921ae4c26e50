import keras
import numpy as np
import pytest

from keras_ae import VAE, InputError, conv_vae
from tests.helpers import CLASSES, ONCE, Fed, batch, dtype_policy, run_layer_or_model, small_vae, variables

to_numpy = keras.ops.convert_to_numpy


def noiseless(**kwargs) -> VAE:
    """A VAE at its posterior mean, so that results can be computed by hand."""
    vae = small_vae(**kwargs)
    vae.posterior_noise = lambda shape, training: keras.ops.zeros(shape)
    return vae


@pytest.mark.parametrize("conditioning", ["none", "decoder", "both"])
def test_construct_round_trip_fit_save_load(tmp_path, conditioning):
    data = batch()
    run_layer_or_model(lambda: small_vae(conditioning=conditioning), data, tmp_path, fit={"x": data, "batch_size": 3})


@pytest.mark.parametrize("shape", [(28, 28, 1), (45, 61, 3), (1, 3, 1)])
def test_any_image_shape(shape):
    vae = conv_vae(shape, 3, width=4)
    vae.compile("adam")
    data = batch(2, shape)
    vae.fit(data["image"], batch_size=2, verbose=0)
    assert vae.image_shape == shape
    assert vae.reconstruct(data["image"]).shape == (2, *shape)


def test_any_two_models_and_plain_arrays(random):
    image = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(image)
    encoder = keras.Model(image, [keras.layers.Dense(2)(flat), keras.layers.Dense(2)(flat)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    vae = VAE(encoder, decoder)
    vae.compile(keras.optimizers.Adam(0.01))
    images = random.random((32, 4, 4, 1), "float32")
    losses = vae.fit(images, epochs=3, batch_size=8, verbose=0, validation_data=(images,)).history
    assert losses["val_loss"][-1] < losses["val_loss"][0]
    assert vae.predict(images, verbose=0).shape == images.shape


def test_results_are_means_over_all_images_whatever_the_last_batch():
    vae = noiseless()
    data = batch(10)
    results = vae.evaluate(data, batch_size=4, return_dict=True, verbose=0)
    z_mean, z_log_var = vae.encode(data["image"])
    squared_error = (vae.predict(data, verbose=0) - data["image"]) ** 2
    kl = 0.5 * (np.exp(z_log_var) + z_mean**2 - 1 - z_log_var).sum(1)
    sse, mse = squared_error.sum((1, 2, 3)), squared_error.mean((1, 2, 3))
    expected = {
        "loss": (sse + kl).mean(),
        "reconstruction": sse.mean(),
        "kl": kl.mean(),
        "elbo": (-sse - kl).mean() - 0.5 * 192 * np.log(np.pi),
        "mse": mse.mean(),
        "psnr": (-10 * np.log10(mse)).mean(),
        "active_units": (z_mean.var(0) > 0.01).sum(),
    }
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(results[name], value, rtol=1e-5, err_msg=name)


def test_training_logs_are_means_over_the_epoch():
    vae = noiseless()
    vae.compile(keras.optimizers.SGD(0.0))  # nothing moves
    data = batch(10)
    logs = vae.fit(data, batch_size=4, verbose=0, shuffle=False).history
    results = vae.evaluate(data, batch_size=10, return_dict=True, verbose=0)
    assert logs.keys() == {"loss", "reconstruction", "kl", "elbo", "mse", "skipped_steps"}
    assert float(to_numpy(vae.code_metric.count.value)) == 10  # of the evaluation alone
    for name in ("loss", "kl", "elbo", "mse"):
        np.testing.assert_allclose(logs[name][0], results[name], rtol=1e-5)


def test_sample_weights_count_images():
    vae = noiseless()
    data = batch(4)
    weight = np.float32([0, 2, 1, 0])
    doubled = {name: array[[1, 1, 2]] for name, array in data.items()}
    weighted = vae.evaluate(data, sample_weight=weight, batch_size=4, return_dict=True, verbose=0)
    repeated = vae.evaluate(doubled, batch_size=3, return_dict=True, verbose=0)
    for name in ("elbo", "mse", "kl", "psnr", "active_units"):
        np.testing.assert_allclose(weighted[name], repeated[name], rtol=1e-5)
    np.testing.assert_allclose(weighted["loss"], repeated["loss"] * 3 / 4, rtol=1e-5)  # over all images, as in Keras


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_what_is_minimised_is_what_is_reported(dtype):
    vae = noiseless(beta=2.0)
    vae.compile(keras.optimizers.SGD(0.0))
    data = batch(6)
    weight = np.array([1, 0, 3, 1000, 2, 1], dtype)
    logs = vae.fit(Fed(data["image"], 1, data["label"], weight), verbose=0).history  # a batch of one still has a weight
    minimised = []
    for row in range(6):
        image = {name: array[[row]] for name, array in data.items()}
        step = vae.loss_terms(image, sample_weight=keras.ops.convert_to_tensor(np.float32(weight[[row]])))
        minimised.append(to_numpy(step.losses[0]))
    np.testing.assert_allclose(logs["loss"], np.mean(minimised), rtol=1e-5)
    reported = vae.evaluate(data, sample_weight=weight, batch_size=6, verbose=0, return_dict=True)
    np.testing.assert_allclose(reported["loss"], np.mean(minimised), rtol=1e-5)
    step = vae.loss_terms(data, sample_weight=keras.ops.convert_to_tensor(weight.astype("float32")))
    np.testing.assert_allclose(to_numpy(step.losses[0]), np.mean(minimised), rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["squared_error", "gaussian"])
def test_a_batch_whose_weights_are_all_0_teaches_nothing(likelihood):
    vae = small_vae(likelihood=likelihood, free_bits=0.1)
    vae.compile(keras.optimizers.SGD(0.1))
    before = vae.get_weights()
    logs = vae.fit(batch(4), sample_weight=np.zeros(4), batch_size=4, verbose=0).history
    assert logs["skipped_steps"] == [0]
    assert logs["loss"] == [0]
    for weight, now in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, now)


def test_regularisation_is_not_weighted():
    image = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(image)
    heads = [keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))(flat), keras.layers.Dense(2)(flat)]
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    vae = VAE(keras.Model(image, heads), decoder)
    loss = vae.evaluate(batch(4, (4, 4, 1))["image"], sample_weight=np.zeros(4), return_dict=True, verbose=0)["loss"]
    np.testing.assert_allclose(loss, 0.5 * (vae.encoder.get_weights()[0] ** 2).sum(), rtol=1e-5)


def test_validation_weights_count():
    vae = noiseless()
    vae.compile(keras.optimizers.SGD(0.0))
    data, weight = batch(4), np.float32([0, 1, 3, 0])
    for validation in ((data, None, weight), (data, data["image"], weight)):
        logs = vae.fit(data, validation_data=validation, batch_size=4, verbose=0).history
        expected = vae.evaluate(data, sample_weight=weight, verbose=0, return_dict=True)
        np.testing.assert_allclose(logs["val_elbo"][0], expected["elbo"], rtol=1e-6)
        np.testing.assert_allclose(logs["val_loss"][0], expected["loss"], rtol=1e-6)


def test_evaluation_repeats_itself_and_touches_no_training_state():
    data, other = batch(8), batch(5, seed=3)
    weights = []
    for validation in (None, other):
        vae = small_vae()
        vae.compile(keras.optimizers.SGD(1e-3))
        vae.fit(data, batch_size=4, epochs=2, verbose=0, shuffle=False, validation_data=validation and (validation,))
        weights.append(vae.get_weights())
    for without, with_validation in zip(*weights, strict=True):
        np.testing.assert_array_equal(without, with_validation)
    first, second = (vae.evaluate(other, batch_size=2, return_dict=True, verbose=0) for _ in range(2))
    assert first == second


def test_regularisation_is_in_the_loss_once_a_step():
    image = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(image)
    heads = [
        keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))(flat),
        keras.layers.Dense(2, activity_regularizer=keras.regularizers.L1(0.1))(flat),
    ]
    encoder = keras.Model(image, heads)
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    vae = VAE(encoder, decoder)
    vae.compile(keras.optimizers.SGD(0.0))
    images = batch(6, (4, 4, 1))["image"]
    logs = vae.fit(images, batch_size=6, epochs=2, verbose=0).history
    penalty = (
        0.5 * (encoder.get_weights()[0] ** 2).sum() + 0.1 * np.abs(encoder.predict(images, verbose=0)[1]).sum() / 6
    )
    for epoch in range(2):
        terms = logs["reconstruction"][epoch] + logs["kl"][epoch]
        np.testing.assert_allclose(logs["loss"][epoch] - terms, penalty, rtol=1e-3)


def test_kl_warm_up_follows_the_step_counter():
    vae = small_vae(kl_warmup_steps=4, beta=2.0)
    vae.compile(keras.optimizers.SGD(0.0))
    data = batch(4)
    logs = vae.fit(data, batch_size=4, epochs=6, verbose=0).history
    weights = (np.array(logs["loss"]) - logs["reconstruction"]) / logs["kl"]
    np.testing.assert_allclose(weights, [0, 0.5, 1, 1.5, 2, 2], atol=1e-4)
    results = vae.evaluate(data, return_dict=True, verbose=0)
    np.testing.assert_allclose(results["loss"], results["reconstruction"] + 2 * results["kl"], rtol=1e-5)


def test_beta_changed_while_training_acts_on_every_backend():
    vae = noiseless(beta=1.0)
    vae.compile(keras.optimizers.SGD(0.0))

    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.beta = [1.0, 50.0, 0.1][epoch]

    logs = vae.fit(batch(4), batch_size=2, epochs=3, verbose=0, callbacks=[Anneal()]).history
    weights = (np.array(logs["loss"]) - logs["reconstruction"]) / logs["kl"]
    np.testing.assert_allclose(weights, [1, 50, 0.1], rtol=1e-3)
    assert vae.objective.get_config()["beta"] == vae.beta == 0.1
    results = vae.evaluate(batch(4), verbose=0, return_dict=True)
    np.testing.assert_allclose(results["loss"], results["reconstruction"] + 0.1 * results["kl"], rtol=1e-5)


def test_free_bits_changed_while_training_act_on_every_backend():
    vae = noiseless()
    vae.compile(keras.optimizers.SGD(0.0))
    losses = []
    for free_bits in (0.0, 5.0):
        vae.free_bits = free_bits
        losses.append(vae.fit(batch(4), batch_size=4, verbose=0, shuffle=False).history)
    per_latent = 0.5 * (lambda m, v: np.exp(v) + m**2 - 1 - v)(*vae.encode(batch(4)["image"])).mean(0)
    expected = np.maximum(per_latent, 5.0).sum()
    np.testing.assert_allclose(losses[1]["loss"][0] - losses[1]["reconstruction"][0], expected, rtol=1e-4)
    np.testing.assert_allclose(losses[0]["loss"][0] - losses[0]["reconstruction"][0], losses[0]["kl"][0], rtol=1e-4)


def test_settings_below_0_are_refused_later_too():
    vae = small_vae()
    for name in ("beta", "free_bits"):
        with pytest.raises(InputError, match=f"{name} -1 must not be below 0"):
            setattr(vae, name, -1)
    with pytest.raises(InputError, match="must not be below 0"):
        vae.beta = float("nan")


def test_evaluation_does_not_depend_on_the_batch_size():
    vae = noiseless(free_bits=0.3, likelihood="gaussian")
    data = batch(8)
    losses = [vae.evaluate(data, batch_size=size, verbose=0, return_dict=True) for size in (1, 2, 8)]
    for results in losses[1:]:
        for name, value in results.items():
            np.testing.assert_allclose(value, losses[0][name], rtol=1e-5, err_msg=name)


def test_fit_scores_the_clean_images():
    noisy, clean = batch(6), batch(6, seed=4)["image"]
    vae = noiseless()
    vae.compile(keras.optimizers.SGD(1e-3))
    results = vae.evaluate(noisy, clean, return_dict=True, verbose=0)
    expected = np.square(clean - vae.predict(noisy, verbose=0)).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(results["reconstruction"], expected, rtol=1e-5)
    ends = []
    for y in (None, clean, noisy["image"]):
        vae = noiseless()
        vae.compile(keras.optimizers.SGD(1e-3))
        vae.fit(noisy, y, batch_size=3, verbose=0, shuffle=False)
        ends.append(np.concatenate([weight.ravel() for weight in vae.get_weights()]))
    itself, cleaned, same = ends
    np.testing.assert_allclose(itself, same, atol=1e-7)
    assert np.abs(itself - cleaned).max() > 1e-4


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(6, "int32"), r"y has the shape \(6,\); it is the scored image, \(n, 8, 8, 3\)"),
        (np.full((6, 8, 8, 3), np.nan, "float32"), "image 0 holds numbers that are not finite"),
    ],
)
def test_a_target_that_is_not_an_image_is_refused(y, message):
    vae = small_vae()
    vae.compile("adam")
    for use in (vae.fit, vae.evaluate):
        with pytest.raises(InputError, match=message):
            use(batch(6), y, verbose=0)


def test_labels_are_checked_wherever_they_come_in():
    vae = small_vae()
    vae.compile("adam")
    data = {**batch(4), "label": np.int32([0, 1, 99, 2])}
    uses = (
        lambda: vae.fit(data, verbose=0),
        lambda: vae.fit(batch(4), validation_data=(data,), verbose=0),
        lambda: vae.evaluate(data, verbose=0),
        lambda: vae.predict(data, verbose=0),
        lambda: vae.reconstruct(data["image"], data["label"]),
        lambda: vae.encode(data["image"], data["label"]),
        lambda: vae.sample(4, data["label"]),
        lambda: vae.complete(data["image"], np.ones((4, 8, 8)), labels=data["label"]),
    )
    for use in uses:
        with pytest.raises(InputError, match="unknown label '99'; known are a, b, c, or 0 to 2"):
            use()
    plain = small_vae(conditioning="none")
    image, labels = batch(2)["image"], ["zebra", "zebra"]
    for use in (
        lambda: plain.sample(1, labels="zebra"),
        lambda: plain.encode(image, labels),
        lambda: plain.reconstruct(image, labels),
        lambda: plain.interpolate(image, image, labels=labels),
        lambda: plain.traverse(image, labels=labels),
        lambda: plain.complete(image, np.ones((2, 8, 8)), labels=labels),
    ):
        with pytest.raises(InputError, match="takes no labels"):
            use()


def test_more_metrics_compare_image_and_reconstruction(tmp_path):
    vae = noiseless()
    vae.compile(keras.optimizers.SGD(0.0), metrics=["mae", keras.metrics.MeanSquaredError(name="again")])
    data, weight = batch(5), np.float32([1, 2, 0, 1, 1])
    logs = vae.fit(data, sample_weight=weight, batch_size=2, verbose=0).history
    results = vae.evaluate(data, sample_weight=weight, batch_size=5, return_dict=True, verbose=0)
    error = np.abs(vae.predict(data, verbose=0) - data["image"]).mean((1, 2, 3))
    for value in (logs["mean_absolute_error"][0], results["mean_absolute_error"]):
        np.testing.assert_allclose(value, np.average(error, weights=weight), rtol=1e-5)
    np.testing.assert_allclose(results["again"], results["mse"], rtol=1e-5)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert [metric.name for metric in loaded.image_metrics] == ["mean_absolute_error", "again"]


def test_settings_that_nobody_gave():
    config = small_vae(conditioning="none").get_config()
    assert {"max_skipped_steps": 20, "seed": 0}.items() <= config.items()
    expected = {"beta": 1.0, "kl_warmup_steps": 0, "free_bits": 0.0, "regularizers": []}
    assert expected.items() <= config["objective"]["config"].items()
    members = [config[part]["class_name"] for part in ("latent", "prior", "objective", "likelihood")]
    assert members == ["Gaussian", "StandardNormal", "ELBO", "SquaredError"]
    standard, named = conv_vae((8, 8, 3)), conv_vae((8, 8, 3), 40, width=32)
    assert standard.latent_dim == 40
    assert standard.count_params() == named.count_params()


def test_training_and_evaluation_have_streams_of_their_own():
    vae = small_vae(seed=3)
    streams = np.random.SeedSequence(3).generate_state(2) // 2
    for noise, stream in zip((vae.training_noise, vae.evaluation_noise), streams, strict=True):
        np.testing.assert_array_equal(to_numpy(noise.state.value), [stream, 0])


def test_a_call_is_what_predict_gives():
    vae = _with_batch_norm("float32")
    images = batch(4, (4, 4, 1))["image"]
    np.testing.assert_allclose(to_numpy(vae(images)), vae.predict(images, verbose=0), atol=1e-6)
    np.testing.assert_allclose(to_numpy(vae({"image": images})), vae.predict(images, verbose=0), atol=1e-6)


def test_settings_are_no_weights():
    vae = small_vae()
    paths = [variable.path for variable in (*vae.trainable_variables, *vae.weights)]
    assert not [path for path in paths if "beta" in path or "free_bits" in path]
    assert vae.objective.hyperparameters.built
    assert vae.built


def test_weights_count_where_the_scored_image_is_another():
    vae, clean = noiseless(), batch(4, seed=4)["image"]
    plain = vae.evaluate(batch(4), clean, return_dict=True, verbose=0)
    weighted = vae.evaluate(batch(4), clean, sample_weight=np.ones(4), return_dict=True, verbose=0)
    for name, value in plain.items():
        np.testing.assert_allclose(weighted[name], value, rtol=1e-5, err_msg=name)


def test_what_a_step_says_is_that_of_an_evaluation_where_nothing_else_is_asked_for():
    vae = noiseless(kl_warmup_steps=4)
    vae.compile(keras.optimizers.SGD(0.0))
    data = batch(4)
    evaluated, trained = vae.loss_terms(data).vectors, vae.loss_terms(data, training=True).vectors
    assert evaluated.keys() - trained.keys() == {"psnr"}
    np.testing.assert_allclose(to_numpy(trained["loss"]), to_numpy(trained["reconstruction"]), rtol=1e-6)  # step 0
    # Keras trains with compute_loss where nothing else is asked for.
    np.testing.assert_allclose(to_numpy(vae.compute_loss(data)), np.mean(to_numpy(trained["loss"])), rtol=1e-5)


def test_compute_loss_knows_the_elbo():
    vae = noiseless(beta=3.0)
    data = batch(4)
    results = vae.evaluate(data, batch_size=4, return_dict=True, verbose=0)
    np.testing.assert_allclose(to_numpy(vae.compute_loss(data, training=False)), results["loss"], rtol=1e-5)


def test_evaluation_compiles_nothing():
    vae = small_vae()
    vae.evaluate(batch(2), verbose=0)
    assert not vae.compiled
    assert vae.optimizer is None
    with pytest.raises(ValueError, match="compile"):
        vae.fit(batch(2), verbose=0)


def test_the_summary_shows_built_parts():
    lines = []
    small_vae(likelihood="gaussian_learned").summary(print_fn=lines.append)
    assert "likelihood" in "".join(lines) or "LearnedGaussian" in "".join(lines)
    assert "unbuilt" not in "".join(lines)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras's SavedModel from JAX needs TensorFlow's jax2tf")
@pytest.mark.parametrize("conditioning", ["none", "decoder"])
def test_the_model_exports(tmp_path, conditioning):
    vae = small_vae(conditioning=conditioning)
    data = batch(2)
    if keras.backend.backend() == "torch":
        vae.export(tmp_path / "vae.pt2", format="torch", verbose=False)
        assert (tmp_path / "vae.pt2").stat().st_size > 1000
        return
    vae.export(str(tmp_path / "vae"), verbose=False)
    served = keras.layers.TFSMLayer(str(tmp_path / "vae"), call_endpoint="serve")
    inputs = data if conditioning == "decoder" else {"image": data["image"]}
    np.testing.assert_allclose(to_numpy(served(inputs)), vae.predict(inputs, verbose=0), atol=1e-5)


def test_a_subclassed_network_is_refused():
    class Encoder(keras.Model):
        pass

    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    with pytest.raises(InputError, match="the encoder is a Encoder; give a functional or sequential model"):
        VAE(Encoder(), decoder)


def _with_batch_norm(precision: str) -> VAE:
    with dtype_policy(precision):
        image = keras.Input((4, 4, 1))
        x = keras.layers.Flatten()(keras.layers.BatchNormalization()(image))
        encoder = keras.Model(image, [keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)])
        decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
        vae = VAE(encoder, decoder, likelihood="gaussian", max_skipped_steps=3)
        optimizer = keras.optimizers.Adam()
        if precision == "mixed_float16":  # a scale at which good steps do not overflow
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=128)
        vae.compile(optimizer)
    return vae


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_poisoned_batch_changes_nothing_and_is_counted(precision):
    vae = _with_batch_norm(precision)
    good = batch(8, (4, 4, 1))["image"]
    vae.fit(good, batch_size=4, epochs=2, verbose=0)
    before = variables(vae)
    poisoned = good.copy()
    poisoned[:4, 0, 0, 0] = np.nan
    logs = vae.fit(Fed(poisoned[:4], 4), verbose=0).history
    after = variables(vae)
    assert logs["skipped_steps"] == [1]
    assert np.isnan(logs["loss"]).all()  # the mean over no image
    changed = [number for number, pair in enumerate(zip(before, after, strict=True)) if not np.array_equal(*pair)]
    # float16's loss scale must see the overflow; nothing else moves
    names = [v.path for v in [*vae.trainable_variables, *vae.non_trainable_variables, *vae.optimizer.variables]]
    assert all("scale" in names[number] or "step_counter" in names[number] for number in changed), names
    assert bool(changed) == (precision == "mixed_float16")
    logs = vae.fit(Fed(poisoned, 4), verbose=0, shuffle=False).history
    assert logs["skipped_steps"] == [1]
    assert np.isfinite(logs["loss"][0])
    assert any(not np.array_equal(*pair) for pair in zip(before, variables(vae), strict=True))


def test_many_skipped_steps_in_a_row_stop_the_training():
    from keras_ae import NotFiniteError

    vae = _with_batch_norm("float32")
    images = batch(20, (4, 4, 1))["image"]
    images[8:] = np.nan
    with pytest.raises(NotFiniteError, match="3 steps in a row"):
        vae.fit(Fed(images, 4), shuffle=False, verbose=0)


def test_gradient_accumulation_schedules_and_clipping_keep_working():
    vae = small_vae()
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 10)
    vae.compile(keras.optimizers.Adam(schedule, gradient_accumulation_steps=2, global_clipnorm=1.0))
    start = vae.get_weights()
    data = batch(4)
    vae.fit(data, batch_size=4, verbose=0)
    assert all(np.array_equal(*pair) for pair in zip(start, vae.get_weights(), strict=True))  # accumulated, not applied
    vae.fit(data, batch_size=4, verbose=0)
    assert not all(np.array_equal(*pair) for pair in zip(start, vae.get_weights(), strict=True))


def test_a_moving_average_of_the_weights_keeps_working():
    data, ends = batch(4), []
    for kwargs in ({}, {"use_ema": True, "ema_momentum": 0.0}, {"use_ema": True, "ema_momentum": 0.5}):
        vae = small_vae()
        vae.compile(keras.optimizers.SGD(0.01, **kwargs))
        vae.fit(data, batch_size=2, epochs=2, verbose=0, shuffle=False)
        ends.append(np.concatenate([weight.ravel() for weight in vae.get_weights()]))
    plain, newest, averaged = ends
    np.testing.assert_allclose(newest, plain, atol=1e-6)
    assert np.isfinite(averaged).all()
    assert np.abs(averaged - plain).max() > 1e-3


def test_a_saved_compile_state_decides_about_jit_again(tmp_path):
    vae = small_vae()
    vae.compile("adam", jit_compile=keras.backend.backend() != "jax")
    vae.optimizer.build(vae.trainable_variables)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.compiled
    assert loaded.jit_compile == (keras.backend.backend() == "jax")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: images.__setitem__((3, 0, 0, 0), np.nan), "image 3 holds numbers that are not finite"),
        (lambda images: images.__setitem__((4, 0, 0, 0), np.inf), "image 4 holds numbers that are not finite"),
        (lambda images: np.multiply(images, 255, out=images), r"lie between .* and 25\d.*; give \[0, 1\]"),
        (lambda images: np.subtract(images, 0.5, out=images), r"lie between -0.4\d+ and"),
    ],
)
def test_invalid_images_are_reported(spoil, message):
    vae = small_vae()
    images = batch(6)["image"]
    spoil(images)
    vae.compile("adam")
    before = vae.get_weights()
    with pytest.raises(InputError, match=message):
        vae.fit({"image": images, "label": np.zeros(6, "int32")}, verbose=0)
    with pytest.raises(InputError, match=message):
        vae.encode(images)
    for one, other in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("images", [np.full((4, 8, 8, 3), 0.5, "float32"), np.ones((1, 8, 8, 3), "float32")])
@pytest.mark.parametrize("likelihood", ["squared_error", "gaussian", "bernoulli"] if ONCE else ["gaussian"])
def test_constant_images_and_a_single_one_are_learnt(images, likelihood):
    vae = small_vae(conditioning="none", likelihood=likelihood)
    vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(images, epochs=30, batch_size=64, verbose=0).history  # larger than the data
    assert not any(history["skipped_steps"])
    assert np.isfinite(history["loss"]).all()
    assert history["mse"][-1] < history["mse"][0]


def test_wrong_arguments_name_what_is_accepted():
    with pytest.raises(InputError, match="none, decoder, both"):
        conv_vae((8, 8, 3), conditioning="encoder", class_names=CLASSES)
    with pytest.raises(InputError, match="needs classes"):
        conv_vae((8, 8, 3), conditioning="both")
    with pytest.raises(InputError, match="below 0"):
        small_vae(beta=-1)
    with pytest.raises(InputError, match="1 or more"):
        conv_vae((0, 8, 3))
    with pytest.raises(InputError, match="brings its loss"):
        small_vae().compile("adam", loss="mse")
    with pytest.raises(InputError, match="no 'label'"):
        small_vae().loss_terms(batch()["image"])


@pytest.mark.parametrize("conditioning", ["none", "decoder", "both"])
def test_networks_that_take_something_else_are_refused(conditioning):
    """Latents of another size, and a label more or less."""
    good = small_vae(conditioning=conditioning)
    other = small_vae(latent_dim=3, conditioning=conditioning)
    settings = {"conditioning": conditioning, "class_names": CLASSES}
    with pytest.raises(InputError, match=r"the decoder takes \[\(None, 3\).*\]; it must take \[\(None, 4\)"):
        VAE(good.encoder, other.decoder, **settings)
    wrong = small_vae(conditioning={"none": "both", "decoder": "none", "both": "decoder"}[conditioning])
    with pytest.raises(InputError, match=r"takes .*; it must take"):
        VAE(wrong.encoder, wrong.decoder, **settings)
    VAE(good.encoder, good.decoder, **settings)
