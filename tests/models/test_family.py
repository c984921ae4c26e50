"""Members together: each trains, saves, samples, interpolates, completes; and their bounds against closed forms."""

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import InputError, build_vae
from keras_ae.data import Dataset, Split
from keras_ae.objectives import ELBO, IWAE
from keras_ae.priors import FlowPrior
from tests.family import LATENTS, MEMBERS, SHAPE, linear, log_density, member
from tests.helpers import CLASSES, SignalAt, batch, once, run_layer_or_model, same_run, variables

to_numpy = keras.ops.convert_to_numpy


@pytest.mark.parametrize("name", MEMBERS)
def test_construct_round_trip_fit_save_load(tmp_path, name):
    data = batch(image_shape=SHAPE)
    inputs = {"image": data["image"]} if MEMBERS[name].get("conditioning") == "none" else data
    run_layer_or_model(lambda: member(**MEMBERS[name]), inputs, tmp_path, fit={"x": inputs, "batch_size": 3})


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_trains_samples_interpolates_and_completes(tmp_path, name):
    data = batch(image_shape=SHAPE)
    vae = member(**MEMBERS[name])
    labels = None if vae.conditioning == "none" else data["label"]
    vae.compile(keras.optimizers.Adam(1e-3))
    before, start = variables(vae), vae.evaluate(data, verbose=0, return_dict=True)
    history = vae.fit(data, batch_size=3, epochs=3, verbose=0).history
    assert not any(history["skipped_steps"])
    assert vae.evaluate(data, verbose=0, return_dict=True)["loss"] < start["loss"]
    trained = len(vae.trainable_variables)
    moved = [not np.array_equal(*pair) for pair in zip(before[:trained], variables(vae)[:trained], strict=True)]
    assert all(moved), [v.path for v, m in zip(vae.trainable_variables, moved, strict=True) if not m]

    samples = vae.sample(4, seed=0)
    assert samples.shape == (4, *SHAPE)
    np.testing.assert_array_equal(samples, vae.sample(4, seed=0))
    two = None if labels is None else labels[:2]
    line = vae.interpolate(data["image"][:2], data["image"][2:4], steps=3, labels=two)
    np.testing.assert_allclose(line[:, 0], vae.reconstruct(data["image"][:2], two), atol=1e-5)
    if vae.latent.is_random:
        assert vae.traverse(data["image"], count=2, steps=3, labels=labels)[1].shape == (2, 3, *SHAPE)
    if vae.latent.is_random:
        known = np.ones((2, *SHAPE[:2]))
        known[:, :3] = 0
        completed = vae.complete(data["image"][:2], known, count=2, labels=two, steps=2, seed=0)
        np.testing.assert_array_equal(completed[:, 0, 3:], data["image"][:2, 3:])

    loaded = keras_ae.load_model(keras_ae.save_model(vae, tmp_path / "vae.keras"))
    np.testing.assert_allclose(loaded.sample(4, seed=0), samples, atol=1e-5)
    assert loaded.get_config()["objective"]["config"] == vae.get_config()["objective"]["config"]


@pytest.mark.parametrize(
    ("prior", "centre", "spread", "accuracy"), [("standard", 0, 1, 1e-5), ("mixture:1", 0.4, 0.2, 0.02)]
)
def test_a_traversal_spans_the_prior(prior, centre, spread, accuracy):
    vae = linear(prior=prior)
    if prior != "standard":
        vae.prior.means.assign(np.full((1, LATENTS), centre))
        vae.prior.log_vars.assign(np.full((1, LATENTS), 2 * np.log(spread)))
    images = np.full((2, *SHAPE), 0.5)
    latents, moved = vae.traverse(images, count=1, steps=3, span=0.5)
    code = np.tile(vae.encode(images)[0][0], (3, 1))
    code[:, latents[0]] = centre + 0.5 * spread * np.array([-1, 0, 1])
    np.testing.assert_allclose(moved[0], vae.decode(code), atol=accuracy)


def test_an_image_costs_its_draws_and_what_the_prior_encodes():
    costs = {name: member(**settings).images_at_once for name, settings in MEMBERS.items()}
    assert costs == {
        "spatial mixture": 1,
        "vamp": 4,
        "residual flow": 1,
        "mlp iwae vamp": 5,
        "gated tc": 1,
        "logistic mixture": 1,
        "fsq": 1,
        "vq": 1,
        "hierarchy": 3,
        "dense hierarchy": 2,
        "deterministic": 1,
    }


def greys(n=20) -> Dataset:
    """Grey images that are drawn as 0 and 1, all to train on."""
    images = np.random.default_rng(0).integers(0, 256, (n, *SHAPE)).astype("uint8")
    arrays = {"images": images, "labels": np.arange(n, dtype="int32") % len(CLASSES)}
    return Dataset("greys", CLASSES, *(Split(arrays, np.arange(count)) for count in (n, 0, 0))).binarized()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_stopped_training_ends_with_the_same_bits(tmp_path, name):
    dataset = greys()

    def train(folder, *callbacks):
        vae = member(**MEMBERS[name])
        vae.adapt(dataset.train)
        vae.compile(keras.optimizers.Adam(1e-2))
        keras_ae.train(vae, dataset, folder, epochs=2, batch_size=5, seed=2, verbose=False, callbacks=callbacks)

    train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", SignalAt(7))  # of 8
    train(tmp_path / "parts")
    same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("objective", ["elbo", "iwae:1", "iwae:4"])
@pytest.mark.parametrize("prior", ["standard", "flow:2"])  # which starts as the standard normal
def test_every_bound_is_the_likelihood_where_the_posterior_is_exact(objective, prior):
    vae, images = linear(objective, prior=prior), batch(5, SHAPE)["image"]
    expected = log_density(vae, images)
    vectors = vae.loss_terms(images).vectors
    if objective == "elbo" and prior == "standard":
        kl = to_numpy(vectors["kl"])
        mean, log_var = (x.astype("float64") for x in vae.encode(images))
        np.testing.assert_allclose(kl, 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(1), rtol=1e-4)
    if objective != "elbo":
        np.testing.assert_allclose(to_numpy(vectors["iwae"]), expected, atol=1e-3)
        np.testing.assert_allclose(to_numpy(vectors["loss"]), -expected, atol=1e-3)


def test_a_kl_that_is_estimated_is_the_exact_one_on_average():
    """Of the entropy, which is exact, and the draw's density under the prior."""
    image = batch(1, SHAPE)["image"]
    images = np.repeat(image, 4000, axis=0)
    exact = to_numpy(linear(exact=False).loss_terms(image).vectors["kl"])
    estimated = to_numpy(linear(exact=False, prior="flow:2").loss_terms(images).vectors["kl"])
    assert estimated.std() > 0.1
    np.testing.assert_allclose(estimated.mean(), exact[0], atol=0.05)


def test_the_bound_grows_with_the_draws_to_the_likelihood():
    images = np.repeat(batch(1, SHAPE)["image"], 2000, axis=0)
    bounds = []
    for k in (1, 5, 50):
        vae = linear(IWAE(k), exact=False)
        vectors = vae.loss_terms(images).vectors
        bounds.append(to_numpy(vectors["iwae"]).mean())
        # The bound of one draw is the ELBO, whatever k.
        np.testing.assert_allclose(to_numpy(vectors["elbo"]).mean(), bounds[0], atol=0.1)
    expected = float(log_density(vae, images[:1]))
    assert bounds[0] < bounds[1] - 0.1 < bounds[2] - 0.1
    assert bounds[2] < expected + 0.02
    np.testing.assert_allclose(bounds[2], expected, atol=0.05)


def update(vae, images, batch_size=None) -> list[np.ndarray]:
    """How far a step of gradient descent moves the weights."""
    vae.compile(keras.optimizers.SGD(1.0))
    before = [weight.astype("float64") for weight in vae.get_weights()]
    vae.fit(images, batch_size=len(images), verbose=0)
    return [old - new for old, new in zip(before, vae.get_weights(), strict=True)]


def test_doubly_reparameterised_gradients_are_those_of_the_bound():
    images = np.repeat(batch(1, SHAPE)["image"], 60_000, axis=0)
    plain = update(linear(IWAE(4, dreg=False), exact=False), images)
    doubly = update(linear(IWAE(4), exact=False), images)
    for one, other in zip(plain[4:], doubly[4:], strict=True):  # the decoder's, of the same draws
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)
    for one, other in zip(plain[:4], doubly[:4], strict=True):  # the encoder's, equal in their mean
        assert np.linalg.norm(other - one) < 0.1 * np.linalg.norm(one)
        assert not np.array_equal(one, other)


def test_a_doubly_reparameterised_gradient_vanishes_where_the_posterior_is_exact():
    """Each draw's log-weight is then the same, whatever the draw (Roeder et al. 2017)."""
    images = batch(4, SHAPE)["image"]
    doubly, plain = update(linear(IWAE(3)), images), update(linear(IWAE(3, dreg=False)), images)
    assert max(np.abs(step).max() for step in doubly[:4]) < 1e-3
    assert max(np.abs(step).max() for step in plain[:4]) > 1e-2


def test_weights_of_images_and_a_doubled_batch_scale_the_doubly_reparameterised_gradient():
    images, noise = batch(2, SHAPE)["image"], np.random.default_rng(0).normal(size=(6, LATENTS)).astype("float32")

    def vae(rows):
        made = linear(IWAE(3), exact=False)
        made.posterior_noise = lambda shape, training: keras.ops.convert_to_tensor(noise[rows])
        made.compile(keras.optimizers.SGD(1.0))
        return made

    rows = [0, 1, 2, 3, 4, 5]
    once, twice, first = vae(rows), vae([*rows, *rows]), vae(rows)
    start = once.get_weights()
    once.fit(images, batch_size=2, verbose=0, shuffle=False)
    twice.fit(np.concatenate([images, images]), batch_size=4, verbose=0, shuffle=False)
    first.fit(images, sample_weight=np.float32([2, 0]), batch_size=2, verbose=0, shuffle=False)
    alone = vae(rows[:3])
    alone.fit(images[:1], batch_size=1, verbose=0)
    for old, one, two, weighted, single in zip(
        start, *(model.get_weights() for model in (once, twice, first, alone)), strict=True
    ):
        np.testing.assert_allclose(two, one, atol=1e-4)
        np.testing.assert_allclose(weighted, single, atol=1e-4)
        assert not np.array_equal(old, one)


@once("a parity test compares the backends")
@pytest.mark.parametrize("name", MEMBERS)
def test_a_doubled_batch_changes_no_term_of_an_image(name):
    vae, one = member(**MEMBERS[name]), batch(3, SHAPE)
    noise = np.random.default_rng(0).normal(size=(3 * vae.objective.k, *vae.latent_shape)).astype("float32")

    def terms(copies):
        image, label, draws = (np.concatenate([x] * copies) for x in (one["image"], one["label"], noise))
        tensors = map(keras.ops.convert_to_tensor, (image, label, image))
        inference, *_ = vae.infer(*tensors, noise=keras.ops.convert_to_tensor(draws))
        found = vae.objective.terms(inference, step=None, sample_weight=None, training=False)
        return {term: keras.ops.convert_to_numpy(values) for term, values in found.items()}

    alone, doubled = terms(1), terms(2)
    assert alone.keys() == doubled.keys() >= set(vae.objective.names) - {"tc"}
    for term, values in alone.items():
        np.testing.assert_allclose(doubled[term], np.concatenate([values] * 2), rtol=1e-5, err_msg=term)


def test_what_an_objective_does_not_have_is_refused():
    for settings in ({"beta": 2.0}, {"kl_warmup_steps": 5}, {"free_bits": 0.1}, {"regularizers": ["tc:2"]}):
        (name,) = settings
        with pytest.raises(InputError, match=f"{name} change an ELBO; the objective IWAE is a bound without them"):
            member(objective="iwae:5", **settings)
    with pytest.raises(InputError, match="the objective IWAE has no beta; an ELBO has"):
        member(objective="iwae").beta = 2.0
    with pytest.raises(InputError, match=r"give beta to the ELBO itself, as ELBO\(beta=...\)"):
        member(objective=ELBO(), beta=2.0)
    for kwargs, message in (
        ({"prior": "vampire"}, "unknown prior 'vampire'; known are standard, mixture, vamp, flow, uniform"),
        ({"prior": "standard:3"}, "the prior standard takes no number; leave out ':3'"),
        ({"prior": "flow:x"}, "the prior 'flow:x' is not possible; give a whole number of layers"),
        ({"prior": "flow:65"}, "a flow of 65 layers is not possible; give 1 to 64"),
        ({"prior": "mixture:0"}, "0 components are not possible"),
        ({"prior": "flow", "latent_dim": 1}, "a flow couples latents with one another; give it 2 or more"),
        ({"objective": "iwae:0"}, "0 draws an image are not possible; give 1 to 10,000"),
        ({"network": "transformer"}, "known are conv, residual, mlp, gated"),
        ({"latent_dim": (7, 2, 1)}, "a code of 7x2 places is larger than the image"),
        ({"latent_dim": (2, 2, 2, 2)}, "give a number, or"),
        ({"prior": FlowPrior}, "stands for a Prior"),
        ({"regularizers": ["tc:-1"]}, "must not be below 0"),
    ):
        with pytest.raises(InputError, match=message):
            member(**kwargs)


def test_a_total_correlation_asks_for_the_number_of_images(dataset):
    vae = build_vae(dataset.image_shape, 2, regularizers=["tc:6"], width=4)
    vae.compile("adam")
    images = dataset.train.batch(slice(0, 4))["image"]
    with pytest.raises(InputError, match=r"call vae.adapt\(dataset.train\)"):
        vae.fit(images, verbose=0)
    vae.adapt(dataset.train)
    history = vae.fit(images, verbose=0).history
    assert vae.objective.regularizers[0].images == len(dataset.train)
    loss = history["reconstruction"][0] + history["kl"][0] + 5 * history["tc"][0]
    np.testing.assert_allclose(history["loss"][0], loss, rtol=1e-5)
    assert "tc" not in vae.evaluate(images, verbose=0, return_dict=True)


def test_free_bits_are_of_all_latents_together_where_the_prior_knows_none_alone():
    vae = member(prior="flow:2", free_bits=3.0, conditioning="none")
    vae.compile(keras.optimizers.SGD(0.0))
    logs = vae.fit(batch(4, SHAPE)["image"], batch_size=4, verbose=0).history
    assert logs["kl"][0] < 12
    np.testing.assert_allclose(logs["loss"][0] - logs["reconstruction"][0], 12, rtol=1e-4)


def test_a_vamp_prior_starts_at_training_images(dataset):
    vae = build_vae(dataset.image_shape, 2, prior="vamp:5", width=4)
    vae.adapt(dataset.train)
    own = {image.tobytes() for image in dataset.train.batch(slice(None))["image"]}
    assert {image.tobytes() for image in to_numpy(vae.prior.pseudo_images.value)} <= own
    vae.compile(keras.optimizers.SGD(1e3))
    vae.fit(dataset.train.batch(slice(0, 4))["image"], verbose=0)
    pseudo = to_numpy(vae.prior.pseudo_images.value)
    assert pseudo.min() >= 0
    assert pseudo.max() <= 1
