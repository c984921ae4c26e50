"""Tokens and their vectors: against NumPy, and as what the ELBO says they cost."""

import keras
import numpy as np
import pytest
from scipy import stats

import keras_ae
from keras_ae import InputError
from keras_ae.latents import FSQ, VQ, CosineVQ, get_latent
from keras_ae.objectives import CodeUsage
from tests.helpers import batch, set_weights

to_numpy = keras.ops.convert_to_numpy
tensor = keras.ops.convert_to_tensor
SHAPE = (8, 8, 1)


def built(latent, shape):
    latent.build((None, *shape))
    return latent


def quantized(latent, features, **kwargs):
    tokens, vectors, costs = latent.quantized(tensor(features), **kwargs)
    return to_numpy(tokens), to_numpy(vectors), {name: to_numpy(cost) for name, cost in costs.items()}


def test_each_feature_is_rounded_to_one_of_its_levels():
    """Odd and even numbers of levels, from the lowest to the highest, which 0 stands in the middle of."""
    line = np.linspace(-9, 9, 2001, dtype="float32")
    for levels in (2, 3, 4, 5, 8):
        fsq = built(FSQ((levels,)), (1,))
        tokens, vectors, _ = quantized(fsq, line[:, None])
        np.testing.assert_array_equal(np.unique(tokens), np.arange(levels))
        assert (np.diff(tokens) >= 0).all()
        np.testing.assert_allclose(vectors[:, 0], (tokens - levels // 2) / (levels // 2), atol=1e-6)
        assert tokens[1000] == levels // 2
        # A feature of 0 stays 0, and the levels lie around it: atanh of the middle between two.
        half = (levels - 1) * 1.001 / 2
        offset = 0 if levels % 2 else 0.5
        ends = np.arctanh((np.arange(levels - 1) - levels // 2 + 0.5 + offset) / half) - np.arctanh(offset / half)
        found = line[1:][np.diff(tokens) > 0]
        np.testing.assert_allclose(found, ends, atol=0.01)


def test_tokens_count_the_levels_of_all_features_and_give_their_vectors_back():
    fsq = built(FSQ((3, 4, 2)), (3,))
    features = np.random.default_rng(0).uniform(-6, 6, (9000, 3)).astype("float32")
    tokens, vectors, _ = quantized(fsq, features)
    alone = [quantized(built(FSQ((levels,)), (1,)), features[:, i : i + 1])[0] for i, levels in enumerate((3, 4, 2))]
    np.testing.assert_array_equal(tokens, alone[0] + 3 * alone[1] + 12 * alone[2])
    assert len(np.unique(tokens)) == fsq.codes == 24
    np.testing.assert_allclose(to_numpy(fsq.vectors(tensor(tokens))), vectors, atol=1e-6)


class Quantized(keras.layers.Layer):
    def __init__(self, latent):
        super().__init__()
        self.latent = latent

    def call(self, x):
        return self.latent.quantized(x)[1]


def slopes(latent, features, weights):
    """The gradient of sum(weights x vectors) with respect to features (channels,)."""
    count = len(features)
    dense = keras.layers.Dense(count, use_bias=False, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((count,)), dense, Quantized(latent)])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda true, found: keras.ops.sum(true * found, axis=-1))
    model.fit(features[None], weights[None], verbose=0)
    return (np.eye(count) - dense.get_weights()[0])[0] / features[0]


def test_the_gradient_is_that_of_what_is_rounded():
    features, weights = np.float32([0.7, -0.4]), np.float32([1.5, -2.0])
    half, middle = np.array([4, 7]) * 1.001 / 2, np.array([2, 4])
    shift = np.arctanh(np.array([0, 0.5]) / half)
    expected = weights * half / np.cosh(features + shift) ** 2 / middle
    np.testing.assert_allclose(slopes(built(FSQ((5, 8)), (2,)), features, weights), expected, rtol=1e-4)
    vq = built(VQ(4), (2,))
    np.testing.assert_allclose(slopes(vq, features, weights), weights, rtol=1e-4)


def test_codes_are_counted_softly_by_the_levels_around_them():
    """Against NumPy; features beyond the outermost levels count as these."""
    fsq = built(FSQ((3, 4), entropy=0.5), (2, 2, 2))
    bounded = np.random.default_rng(0).uniform(-2.1, 1.1, (5, 2, 2, 2)).astype("float32")
    expected = np.zeros(12)
    for first, second in np.clip(bounded.reshape(-1, 2), (-1, -2), 1):
        one = np.maximum(0, 1 - np.abs(np.arange(-1, 2) - first))
        two = np.maximum(0, 1 - np.abs(np.arange(-2, 2) - second))
        expected += np.outer(two, one).ravel() / 20
    np.testing.assert_allclose(to_numpy(fsq.usage(tensor(bounded))), expected, atol=1e-6)


def test_uneven_codes_cost_what_their_entropy_lacks():
    fsq = built(FSQ((3, 4), entropy=0.5), (2, 2, 2))
    features = np.random.default_rng(0).normal(size=(5, 2, 2, 2)).astype("float32")
    half, offset = np.array([1, 1.5]) * 1.001, np.array([0, 0.5])
    bounded = half * np.tanh(features + np.arctanh(offset / half)) - offset
    usage = to_numpy(fsq.usage(tensor(bounded.astype("float32"))))
    expected = 0.5 * 4 * (np.log(12) - stats.entropy(usage))
    np.testing.assert_allclose(quantized(fsq, features)[2]["entropy_gap"], [expected] * 5, rtol=1e-4)
    same = quantized(fsq, np.full_like(features, 9))[2]["entropy_gap"]  # one code for all
    np.testing.assert_allclose(same, [0.5 * 4 * np.log(12)] * 5, rtol=1e-4)


def test_a_training_evens_the_codes():
    images = np.random.default_rng(0).random((64, *SHAPE), "float32")
    found = []
    for entropy in (0.0, 1.0):
        vae = keras_ae.build_vae(SHAPE, (4, 4), latent=FSQ((5, 5), entropy=entropy), width=4)
        set_weights(vae.encoder.weights + vae.decoder.weights)
        vae.compile(keras.optimizers.Adam(1e-2))
        vae.fit(images, epochs=10, shuffle=False, verbose=0)
        found.append(vae.evaluate(images, verbose=0, return_dict=True)["perplexity"])
    assert found[1] > 1.2 * found[0]
    loaded = FSQ.from_config(vae.latent.get_config())
    assert (loaded.levels, loaded.entropy) == ((5, 5), 1.0)


@pytest.mark.parametrize("kind", [VQ, CosineVQ])
def test_a_codebook_follows_the_means_of_its_codes(kind):
    """Against NumPy, over steps in which a code dies and begins again."""
    codes, decay = 5, 0.99
    latent = built(kind(codes), (2, 2, 3))
    random = np.random.default_rng(0)
    counts, sums, codebook = np.zeros(codes), np.zeros((codes, 3)), to_numpy(latent.codebook.value).astype("float64")
    revived = 0
    for step in range(12):
        centre = 4 if step > 7 else 0  # the features move away from the codes
        features = (random.normal(size=(6, 2, 2, 3)) + centre).astype("float32")
        tokens, vectors, costs = quantized(latent, features, training=True)
        flat = features.reshape(-1, 3).astype("float64")
        if kind is CosineVQ:
            flat /= np.linalg.norm(flat, axis=1, keepdims=True)
        nearest = np.square(flat[:, None] - codebook).sum(2).argmin(1)
        np.testing.assert_array_equal(tokens.ravel(), nearest)
        np.testing.assert_allclose(vectors.reshape(-1, 3), codebook[nearest], atol=1e-4)
        errors = np.square(flat - codebook[nearest]).reshape(6, -1).sum(1)
        np.testing.assert_allclose(costs["commitment"], 0.25 * errors, rtol=1e-3)
        counts = decay * counts + (1 - decay) * np.bincount(nearest, minlength=codes)
        sums = decay * sums + (1 - decay) * np.stack([flat[nearest == k].sum(0) for k in range(codes)])
        dead = counts < 0.03 * 24 / codes
        revived += step > 0 and dead.sum()
        counts[dead] = 24 / codes
        sums[dead] = counts[dead][:, None] * flat[(np.arange(codes) * 7919 + step) % 24][dead]
        codebook = sums / counts[:, None]
        if kind is CosineVQ:
            codebook /= np.linalg.norm(codebook, axis=1, keepdims=True)
        for weight, expected in ((latent.counts, counts), (latent.sums, sums), (latent.codebook, codebook)):
            np.testing.assert_allclose(to_numpy(weight.value), expected, rtol=1e-3, atol=1e-4)
    before = to_numpy(latent.codebook.value)
    quantized(latent, features)
    np.testing.assert_array_equal(to_numpy(latent.codebook.value), before)  # outside a training nothing moves


def test_a_dead_code_begins_again_with_its_count_and_its_sum():
    latent = built(VQ(3), (2,))
    features = np.float32([[0, 0], [0, 0], [5, 5], [5, 5], [9, 0], [9, 0]])
    quantized(latent, features, training=True)  # all codes begin
    far = np.float32([[99, 99]])
    latent.codebook.assign(np.concatenate([to_numpy(latent.codebook.value)[:2], far]))
    latent.sums.assign(np.concatenate([to_numpy(latent.sums.value)[:2], 1e-3 * far]))
    latent.counts.assign([2, 2, 1e-3])
    quantized(latent, features, training=True)
    assert to_numpy(latent.counts.value)[2] == 2
    assert to_numpy(latent.codebook.value)[2].tolist() in features.tolist()
    begun = to_numpy(latent.codebook.value)[2]
    quantized(latent, features, training=True)
    np.testing.assert_allclose(to_numpy(latent.codebook.value)[2], begun, atol=0.2)


@pytest.mark.parametrize("latent", ["fsq:3x4", "vq:12"])
def test_the_elbo_pays_for_the_tokens(latent):
    vae = keras_ae.build_vae(SHAPE, (2, 2), latent=latent, width=4)
    images = batch(5, SHAPE)["image"]
    results = vae.evaluate(images, verbose=0, return_dict=True)
    np.testing.assert_allclose(results["kl"], 4 * np.log(12), rtol=1e-5)
    expected = -results["reconstruction"] - 0.5 * 64 * np.log(np.pi) - results["kl"]  # of a variance of 1/2
    np.testing.assert_allclose(results["elbo"], expected, rtol=1e-5)
    commitment = results.get("commitment", 0)
    np.testing.assert_allclose(results["loss"], results["reconstruction"] + results["kl"] + commitment, rtol=1e-5)
    np.testing.assert_allclose(vae.log_likelihood(images, draws=3).mean(), results["elbo"], rtol=1e-5)


@pytest.mark.parametrize("latent", ["fsq:3x4", "vq:12"])
def test_tokens_are_images_and_images_tokens(latent):
    vae = keras_ae.build_vae(SHAPE, (2, 2), latent=latent, width=4)
    images = batch(5, SHAPE)["image"]
    tokens = vae.encode(images)
    assert tokens.shape == (5, 2, 2)
    np.testing.assert_allclose(vae.decode(tokens), vae.reconstruct(images), atol=1e-6)
    np.testing.assert_allclose(vae.decode(vae.code(images)), vae.reconstruct(images), atol=1e-6)
    np.testing.assert_allclose(np.clip(vae.predict(images, verbose=0), 0, 1), vae.reconstruct(images), atol=1e-5)
    drawn = vae.prior.sample(3000, np.random.default_rng(0))
    assert drawn.shape == (3000, 2, 2)
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=12)).pvalue > 0.01
    np.testing.assert_allclose(vae.sample(4, seed=3), vae.decode(vae.prior.sample(4, np.random.default_rng(3))))
    for wrong in (tokens - 12, tokens + 12):
        with pytest.raises(InputError, match="give 0 to 11"):
            vae.decode(wrong)


def test_how_evenly_codes_are_used():
    metric = CodeUsage(codes=6)
    tokens, weight = np.int32([[0, 1], [1, 1], [4, 5]]), np.float32([1, 2, 0])
    metric.update_state(tensor(tokens), weight)
    metric.update_state(tensor(tokens[:1]))
    shares = np.array([2, 6]) / 8
    result = metric.result()
    np.testing.assert_allclose(float(result["perplexity"]), np.exp(stats.entropy(shares)), rtol=1e-5)
    np.testing.assert_allclose(float(result["dead_codes"]), 4 / 6, rtol=1e-6)


def test_a_training_reports_perplexity_and_dead_codes():
    vae = keras_ae.build_vae(SHAPE, (2, 2), latent="vq:8", width=4)
    vae.compile("adam")
    images = batch(6, SHAPE)["image"]
    logs = vae.fit(images, batch_size=3, epochs=2, validation_data=(images,), verbose=0).history
    for name in ("perplexity", "dead_codes", "commitment"):
        assert len(logs[name]) == len(logs[f"val_{name}"]) == 2
    tokens = np.bincount(vae.encode(images).ravel(), minlength=8) / 24
    np.testing.assert_allclose(logs["val_perplexity"][-1], np.exp(stats.entropy(tokens)), rtol=1e-4)
    assert "active_units" not in logs


def test_a_step_that_is_not_finite_moves_no_codebook():
    vae = keras_ae.build_vae(SHAPE, (2, 2), latent="vq:8", width=4)
    vae.compile("adam")
    images = batch(4, SHAPE)["image"]
    vae.fit(images, batch_size=4, verbose=0)
    before = [to_numpy(weight.value).copy() for weight in vae.latent.weights]
    broken = images.copy()
    broken[1, 2, 3] = 1e30
    broken[2] = np.nan
    vae.checked_target = lambda x, y, sample_weight: y  # which would refuse these images
    assert vae.fit(broken, batch_size=4, verbose=0).history["skipped_steps"] == [1]
    for weight, old in zip(vae.latent.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight.value), old)


def test_what_does_not_go_with_tokens_is_refused():
    def build(latent="fsq:3x4", latent_dim=(2, 2), **kwargs):
        return keras_ae.build_vae(SHAPE, latent_dim, latent=latent, width=4, **kwargs)

    for kwargs, message in (
        ({"latent": "fsq:1x4"}, "levels 1x4 are not possible; give 2 or more of each feature, as 8x8x8"),
        ({"latent": "fsq:9x9x9x9x9x9x9"}, "levels 9x9x9x9x9x9x9 are not possible"),
        ({"latent": "fsq:8,8"}, "the latent 'fsq:8,8' is not possible; give several, as 8x8x8, of levels"),
        ({"latent": "vq:1"}, "1 codes are not possible; give 2 to 65,536"),
        ({"latent": VQ, "latent_dim": (2, 2, 3)}, "stands for a Latent"),
        (
            {"latent_dim": (2, 2, 3)},
            r"does not fit 2 features with levels; give \(height, width\) of a spatial code, or \(2, 2, 2\)",
        ),
        ({"latent_dim": 5}, r"does not fit 2 features with levels; give .* or \(2,\)"),
        ({"objective": "iwae:3"}, "all draws of a FSQ are the same: take the objective 'elbo'"),
        ({"objective": "iwae:1"}, "all draws of a FSQ are the same: take the objective 'elbo'"),
        ({"regularizers": ["tc:6"]}, "a regularizer is of Gaussian latents, which a FSQ has not; leave it out"),
        ({"prior": "flow"}, "the prior flow:6 is not for the latent fsq:3x4; take uniform"),
        (
            {"latent": "gaussian", "prior": "uniform"},
            "the prior uniform is not for the latent gaussian; take standard, mixture, vamp, flow",
        ),
    ):
        with pytest.raises(InputError, match=message):
            build(**kwargs)
    with pytest.raises(InputError, match="the entropy of codes is of fsq, not of vq:8; leave it out"):
        get_latent("vq:8", entropy=0.1)
    with pytest.raises(InputError, match="entropy"):
        get_latent("fsq:3x4", entropy=-0.1)
    vae, image = build(), batch(1, SHAPE)["image"]
    with pytest.raises(InputError, match="a traversal moves Gaussian latents, and this model has none; interpolate"):
        vae.traverse(image)
    with pytest.raises(InputError, match="completions move Gaussian latents, and this model has none"):
        vae.complete(image, np.eye(8)[None])
    encoder = keras_ae.build_encoder(SHAPE, (2, 2, 2), width=4)
    with pytest.raises(InputError, match="the encoder gives 2 outputs; the latent takes code"):
        keras_ae.VAE(encoder, vae.decoder, latent="fsq:3x4")
