"""What PyTorch's file does that no layer or model shows: which convolutions are fast, and where bfloat16 is."""

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("of PyTorch alone", allow_module_level=True)

import torch

import keras_ae
from keras_ae.backends import _torch_trace as torch_trace
from keras_ae.networks import NETWORKS
from tests.family import MEMBERS, SHAPE, member
from tests.helpers import Fed, batch, dtype_policy, set_weights, small_vae, variables

backend = importlib.import_module("keras_ae.backends.torch")

CONVOLUTIONS = [  # kernel, stride, side, padding; fast where as much is padded on either side
    (3, 1, 6, "same", True),
    (2, 1, 6, "same", False),
    (4, 1, 6, "same", False),
    (5, 1, 6, "same", True),
    (4, 2, 6, "same", True),
    (3, 2, 6, "same", False),
    (3, 2, 7, "same", True),
    (1, 2, 6, "same", True),
    (1, 3, 6, "same", True),
    (2, 1, 6, "valid", True),
]


@pytest.mark.parametrize(("kernel", "stride", "side", "padding", "fast"), CONVOLUTIONS)
def test_convolutions_that_pad_evenly_are_fast(kernel, stride, side, padding, fast):
    x, weights = torch.ones(2, side, side, 3), torch.ones(kernel, kernel, 3, 5)
    outputs = backend.conv2d(x, weights, None, (stride, stride), padding)
    assert (outputs is not None) == fast
    if padding == "same" and fast:
        assert outputs.shape == (2, -(-side // stride), -(-side // stride), 5)


TRANSPOSED = [
    (4, 2, "same", True),
    (2, 2, "same", True),
    (3, 2, "same", False),
    (5, 2, "same", False),
    (6, 2, "same", True),
    (1, 2, "same", False),
    (3, 2, "valid", True),
    (1, 2, "valid", False),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "fast"), TRANSPOSED)
def test_transposed_convolutions_that_overlap_evenly_are_fast(kernel, stride, padding, fast):
    x, weights = torch.ones(2, 4, 4, 3), torch.ones(kernel, kernel, 5, 3)
    outputs = backend.conv2d_transpose(x, weights, None, (stride, stride), padding)
    assert (outputs is not None) == fast
    if fast and padding == "same":
        assert outputs.shape == (2, 4 * stride, 4 * stride, 5)


def test_another_device_has_the_stock_convolutions():
    x = torch.ones(2, 6, 6, 3, device="meta")
    assert backend.conv2d(x, torch.ones(3, 3, 3, 5), None, (1, 1), "same") is None
    assert backend.conv2d_transpose(x, torch.ones(4, 4, 5, 3), None, (2, 2), "same") is None
    assert backend._waits(x)
    assert not backend._waits(torch.ones(1))


@pytest.mark.parametrize(
    ("flags", "fast"), [("fma avx512_bf16", True), ("amx_bf16 fma", True), ("fma avx2", False), (None, False)]
)
def test_processors_with_bfloat16(monkeypatch, flags, fast):
    def read_text(path):
        if flags is None:
            raise OSError
        return flags

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Path, "read_text", read_text)
    assert backend.has_bfloat16() == fast


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((8, 9), True), ((9, 0), True)])
def test_gpus_with_bfloat16(monkeypatch, capability, fast):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert backend.has_bfloat16() == fast


@pytest.mark.parametrize(("free", "resident"), [(400, True), (399, False)])
def test_images_stay_on_a_gpu_where_they_fill_a_quarter_of_its_memory_or_less(monkeypatch, free, resident):
    images = torch.zeros(5, 20, dtype=torch.uint8).numpy()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 10**9))
    monkeypatch.setattr(backend, "_resident", lambda *_: "resident")
    assert backend.on_device(images, images, range(5)) == ("resident" if resident else None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 9), epsilon=1e-3),
        lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1, clipnorm=1.0),
        lambda: keras.optimizers.Adam(1e-2, amsgrad=True),
    ],
)
@pytest.mark.parametrize("turned", [False, True])  # memory in another order than its sides
def test_the_fused_update_is_kerass(make, turned):
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype("float32") for shape in ((3, 3, 4, 5), (5,), (7, 6))]
    steps = [[random.normal(size=array.shape).astype("float32") for array in start] for _ in range(5)]

    def updated(speed_up):
        optimizer, variables = make(), [keras.Variable(array) for array in start]
        if turned:
            variables[2] = keras.Variable(torch.tensor(start[2].T.copy()).T)
        optimizer.build(variables)
        if speed_up:
            backend.speed_up(optimizer)
        for number, gradients in enumerate(steps):
            gradients = [torch.tensor(gradient) for gradient in gradients]
            if number % 2:
                gradients[0] = gradients[0].permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
            optimizer.apply(gradients, variables)
        return [weight.numpy() for weight in (*variables, *optimizer.variables)]

    for one, other in zip(updated(False), updated(True), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_a_step_uses_the_fused_update(monkeypatch):
    fused, calls = torch._fused_adam_, []
    monkeypatch.setattr(torch, "_fused_adam_", lambda *args, **kwargs: (calls.append(1), fused(*args, **kwargs)))
    vae = small_vae()
    vae.compile("adam")
    vae.fit(batch(), batch_size=3, verbose=0)
    assert len(calls) == 2


def called(vae, images, labels, kernel, directly):
    """Outputs of both networks and the gradient of one kernel, by `backend.call` or by Keras."""
    call = backend.call if directly else lambda network, inputs, training: network(inputs, training=training)
    vae.zero_grad()
    codes = call(vae.encoder, [images, labels], True)
    decoded = call(vae.decoder, [codes[0], labels], True)
    (decoded.float().square().sum() + codes[1].float().sum()).backward()
    return [x.detach().float().numpy() for x in (*codes, decoded, kernel.value.grad)]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_plain_networks_are_called_with_the_same_values(precision, network):
    with dtype_policy(precision):
        vae = keras_ae.build_vae((9, 8, 3), 2, network=network, width=4, class_names=list("ab"), conditioning="both")
    assert all(map(backend._is_plain, (vae.encoder, vae.decoder)))
    images, labels = torch.rand(5, 9, 8, 3), torch.tensor([0, 1, 0, 1, 1])
    kernel = next(weight for weight in vae.encoder.trainable_variables if "kernel" in weight.path)
    for one, other in zip(*(called(vae, images, labels, kernel, directly) for directly in (False, True)), strict=True):
        np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.Dropout(0.5),
        lambda: keras.layers.Masking(),
        lambda: keras.layers.Activation("relu", activity_regularizer="l2"),
        lambda: type("Own", (keras.layers.Dense,), {})(4),
    ],
)
def test_a_network_with_any_other_layer_is_keras_own(layer):
    image = keras.Input((4,))
    network = keras.Model(image, layer()(image))
    assert not backend._is_plain(network)
    network(torch.ones(3, 4), training=True)
    losses = len(network.losses)
    assert backend.call(network, torch.ones(3, 4), True).shape == (3, 4)
    assert len(network.losses) == losses


def test_hooks_of_layers_are_heard():
    vae, heard = small_vae(), []
    vae.encoder.layers[1].register_forward_hook(lambda *_: heard.append(1))
    vae.compile("adam")
    vae.fit(batch(), batch_size=3, verbose=0)
    assert len(heard) == 2


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected shape"):
        backend.call(small_vae().encoder, torch.ones(2, 4, 4, 3), False)


class ChangesBeta(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            self.model.beta = 5.0


def trained(monkeypatch, vae, hot: int, callbacks=(), poisoned=False):
    """Weights after six epochs of two steps, the losses, and whether what came `hot` times was traced."""
    traced, original = [], torch_trace._traced

    def spy(*args):
        traced.append(original(*args))
        return traced[-1]

    data = batch(image_shape=SHAPE)
    if poisoned:
        data["image"][3:] = np.nan
    fed = Fed(data["image"], 3, None if vae.conditioning == "none" else data["label"])
    with monkeypatch.context() as patch:
        patch.setattr(torch_trace, "HOT", hot)
        patch.setattr(torch_trace, "_traced", spy)
        vae.compile(keras.optimizers.Adam(1e-2))
        history = vae.fit(fed, epochs=6, shuffle=False, verbose=0, callbacks=list(callbacks)).history
    return variables(vae), history, [replay is not None for replay in traced]


def assert_traced_is_the_same(monkeypatch, make, expected=True, **kwargs):
    whole, traced = (trained(monkeypatch, make(), hot, **kwargs) for hot in (10**9, 3))
    assert (whole[2], traced[2]) == ([], [expected])
    for one, other in zip(whole[0], traced[0], strict=True):
        np.testing.assert_array_equal(other, one)
    for name, values in whole[1].items():
        np.testing.assert_array_equal(traced[1][name], values)


@pytest.mark.parametrize("name", MEMBERS)
def test_traced_steps_train_the_same_bits(monkeypatch, name):
    is_operations = "iwae" not in name  # whose gradient is of its own
    assert_traced_is_the_same(monkeypatch, lambda: member(**MEMBERS[name]), expected=is_operations)


def test_traced_steps_in_half_precision_train_the_same_bits(monkeypatch):
    with dtype_policy("mixed_bfloat16"):
        assert_traced_is_the_same(monkeypatch, lambda: member(latent_dim=3))


def test_what_changes_while_training_changes_traced_steps(monkeypatch):
    assert_traced_is_the_same(monkeypatch, lambda: member(kl_warmup_steps=8), callbacks=[ChangesBeta()])


def test_a_traced_step_that_is_not_finite_changes_nothing(monkeypatch):
    assert_traced_is_the_same(monkeypatch, lambda: member(max_skipped_steps=9), poisoned=True)


def with_layer(layer):
    def made():
        image = keras.Input(SHAPE)
        x = layer()(keras.layers.Flatten()(image))
        heads = [keras.layers.Dense(2), keras.layers.Dense(2)]
        vae = keras_ae.VAE(keras.Model(image, [head(x) for head in heads]), member(2, "none").decoder)
        set_weights(vae.trainable_weights)
        return vae

    return made


def test_running_statistics_are_traced_and_layers_that_draw_are_not(monkeypatch):
    assert_traced_is_the_same(monkeypatch, with_layer(keras.layers.BatchNormalization))
    dropout = with_layer(lambda: keras.layers.Dropout(0.5, seed=1))
    assert_traced_is_the_same(monkeypatch, dropout, expected=False)


def test_a_part_that_is_frozen_is_traced_by_itself(monkeypatch):
    class Freezes(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.decoder.trainable = epoch != 3

    vae = member()
    *_, traced = trained(monkeypatch, vae, 2, callbacks=[Freezes()])
    assert traced == [True, True]
