"""What is timed side by side: each trains a network of `_networks` with Adam on images in memory.

All take (network, images, steps, epochs, tick, learning_rate, seed). `images` are uint8 (n, height, width, 3).
`tick(None)` is called before the first batch, and `tick(score)` after each of the `epochs` of `steps` batches, where
`score(images)` is the mean of SSE + KL.
"""

import math
import sys
import tempfile
from contextlib import redirect_stdout
from functools import partial

import numpy as np
from _networks import jax_network, keras_networks, stock, torch_networks

EVALUATED = 500  # images at a time
WARMUP = 0.1  # of a tuned schedule


def keras_ae_fit(network, images, steps, epochs, tick, learning_rate, seed=0):
    """`VAE.fit` with what the scripts run in every step."""
    import keras

    from keras_ae import VAE

    fit_vae(VAE(*keras_networks(network)), keras.optimizers.Adam(learning_rate), network, images, steps, epochs, tick)


def keras_ae_default(network, images, steps, epochs, tick, learning_rate, seed=0):
    """`conv_vae` with the optimizer and schedule of train/vae.py --flip, of which `epochs` is the whole."""
    import keras

    from keras_ae import conv_vae, optimizers

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(network.precision)
    optimizer = optimizers.recipe(steps, epochs, learning_rate)
    vae = conv_vae((network.side, network.side, 3), network.latent_dim, width=network.filters[-1] // 4, seed=seed)
    fit_vae(vae, optimizer, network, images, steps, epochs, tick, flip=True, seed=seed)


def fit_vae(vae, optimizer, network, images, steps, epochs, tick, flip=False, seed=0):
    from keras_ae import callbacks, data

    split = data.Split({"images": images, "labels": np.zeros(len(images), "int32")}, np.arange(len(images)))
    vae.compile(optimizer)

    def score(others):
        return vae.evaluate({"image": _floats(others)}, batch_size=EVALUATED, verbose=0, return_dict=True)["loss"]

    with callbacks.StopOnSignal() as stop:
        vae.fit(
            data.training_batches(split, network.batch_size, flip=flip, seed=seed, endless=True),
            steps_per_epoch=steps,
            shuffle=False,
            epochs=epochs,
            verbose=0,
            callbacks=[ticks(tick, score), callbacks.Progress(), stop],
        )


def ticks(tick, score):
    """A callback that calls `tick`, as all contenders do."""
    import keras

    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: tick(None), on_epoch_end=lambda epoch, logs: tick(score)
    )


def stock_fit(network, images, steps, epochs, tick, learning_rate, seed=0):
    """Keras alone: stock layers, `compute_loss`, `fit` on an array."""
    import keras
    from keras import ops

    class VAE(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.noise = keras.random.SeedGenerator(0)

        def call(self, images):
            mean, log_variance = self.encoder(images)
            noise = keras.random.normal(ops.shape(mean), seed=self.noise)
            return self.decoder(mean + ops.exp(0.5 * log_variance) * noise), mean, log_variance

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            decoded, mean, log_variance = y_pred
            kl = 0.5 * ops.sum(ops.exp(log_variance) + ops.square(mean) - 1 - log_variance, axis=1)
            return ops.mean(ops.sum(ops.square(x - decoded), axis=(1, 2, 3)) + kl)

    vae = VAE(*(stock(model) for model in keras_networks(network)))
    vae.compile(keras.optimizers.Adam(learning_rate))

    def score(others):
        return vae.evaluate(_floats(others), batch_size=EVALUATED, verbose=0)

    x = _floats(images[: steps * network.batch_size])
    vae.fit(x, batch_size=network.batch_size, epochs=epochs, verbose=0, callbacks=[ticks(tick, score)])


def torch_loop(network, images, steps, epochs, tick, learning_rate, seed=0, tuned=False):
    """PyTorch by hand: channels last, fused Adam, autocast for bfloat16, images in memory as bytes; on a GPU the whole
    step is one CUDA graph. `tuned` adds what a good recipe has: a warm-up, cosine decay to 0, half of the images
    mirrored."""
    import torch

    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")  # TensorFloat-32 on a GPU, as in the scripts
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder, decoder = (model.to(device) for model in torch_networks(network))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, learning_rate, fused=True, capturable=device == "cuda")
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(device)

    def loss(batch):
        batch = batch.to(torch.float32, memory_format=torch.channels_last) / 255
        with torch.autocast(device, torch.bfloat16, enabled=network.precision == "mixed_bfloat16"):
            mean, log_variance = (half.float() for half in encoder(batch).chunk(2, dim=1))
            decoded = decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)).float()
        kl = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1)
        return ((decoded - batch).square().sum((1, 2, 3)) + kl).mean()

    def score(others):
        with torch.no_grad():
            return _mean(lambda part: float(loss(torch.from_numpy(part).permute(0, 3, 1, 2).to(device))), others)

    def step(batch):
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()

    def rate(done):
        share = done / (steps * epochs)
        return min(1.0, share / WARMUP) * 0.5 * (1 + math.cos(math.pi * share))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate) if tuned else None

    if device == "cuda":
        step = _captured(step, pixels[: network.batch_size].clone())

    def synchronised(score):
        if device == "cuda":
            torch.cuda.synchronize()
        tick(score)

    for places in _epochs(len(images), network.batch_size, steps, epochs, synchronised, score, seed):
        batch = pixels[torch.from_numpy(places).to(device)]
        if tuned:
            mirrored = torch.rand(len(batch), 1, 1, 1, device=device) < 0.5
            batch = torch.where(mirrored, batch.flip(3), batch)
        step(batch)
        if tuned:
            schedule.step()


def _captured(step, batch):
    """The step as one CUDA graph, which Python launches at once. Its first runs, before the capture, train as well."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(batch)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(batch)

    def replay(other):
        batch.copy_(other)
        graph.replay()

    return replay


def jax_loop(network, images, steps, epochs, tick, learning_rate, seed=0):
    """JAX by hand: stock convolutions, optax, one jitted step, images on the device."""
    import jax
    import optax

    parameters, loss = jax_network(network)
    optimizer = optax.adam(learning_rate)
    state = optimizer.init(parameters)
    held = jax.device_put(images)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(parameters, state, images, places, key):
        batch = images[places].astype("float32") / 255
        noise = jax.random.normal(key, (len(batch), network.latent_dim))
        updates, state = optimizer.update(jax.grad(loss)(parameters, batch, noise), state)
        return optax.apply_updates(parameters, updates), state

    evaluated = jax.jit(loss)

    def score(others):
        noise = np.random.default_rng(0)
        size = network.latent_dim
        return _mean(
            lambda part: float(evaluated(parameters, _floats(part), noise.normal(size=(len(part), size)))), others
        )

    def synchronised(score):
        jax.block_until_ready(parameters)
        tick(score)

    key = jax.random.key(0)
    for places in _epochs(len(images), network.batch_size, steps, epochs, synchronised, score):
        key, now = jax.random.split(key)
        parameters, state = step(parameters, state, held, places, now)


def pythae(network, images, steps, epochs, tick, learning_rate, seed=0):
    """The trainer of pythae 0.1.2, whose objective, half of the squared error, is doubled to be the others'."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            mean, log_variance = self.network(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, z):
            return ModelOutput(reconstruction=self.network(z))

    class Whole(VAE):
        def loss_function(self, recon_x, x, mu, log_var, z):
            _, half, kl = super().loss_function(recon_x, x, mu, log_var, z)
            return 2 * half + kl, 2 * half, kl

    class Ticks(TrainingCallback):
        done = 0

        def on_train_begin(self, training_config, **kwargs):
            tick(None)

        def on_train_step_end(self, training_config, **kwargs):
            self.done += 1
            if self.done % steps == 0 and self.done <= steps * epochs:
                tick(score)

    encoder, decoder = torch_networks(network)
    model = Whole(
        VAEConfig(input_dim=(3, network.side, network.side), latent_dim=network.latent_dim),
        Encoder(encoder),
        Decoder(decoder),
    )
    # Its epochs are passes over its images: as many as the others see, and of a size that full batches divide.
    count = min(len(images), steps * epochs * network.batch_size) // network.batch_size
    pixels = torch.from_numpy(_floats(images[: count * network.batch_size])).permute(0, 3, 1, 2).contiguous()

    def score(others):
        with torch.no_grad():
            return _mean(
                lambda part: float(model({"data": torch.from_numpy(_floats(part)).permute(0, 3, 1, 2)}).loss), others
            )

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        trainer = BaseTrainer(
            model,
            BaseDataset(pixels, torch.zeros(len(pixels))),
            training_config=BaseTrainerConfig(
                output_dir=folder,
                per_device_train_batch_size=network.batch_size,
                num_epochs=-(-steps * epochs // count),
                learning_rate=learning_rate,
                seed=seed,
            ),
            callbacks=[Ticks()],
        )
        trainer.train()


def _epochs(count, batch_size, steps, epochs, tick, score, seed=0):
    """The places of each batch, shuffled; a tick after every `steps`."""
    random = np.random.default_rng(seed)
    stream = iter(())
    tick(None)
    for _ in range(epochs):
        for _ in range(steps):
            places = next(stream, None)
            if places is None:
                order = random.permutation(count)
                stream = iter(order[: count // batch_size * batch_size].reshape(-1, batch_size))
                places = next(stream)
            yield np.sort(places)
        tick(score)


def _mean(score, images):
    """The mean over images of what `score` gives for parts of them."""
    parts = np.split(images, range(EVALUATED, len(images), EVALUATED))
    return float(
        np.average([score(np.ascontiguousarray(part)) for part in parts], weights=[len(part) for part in parts])
    )


def _floats(images):
    return np.multiply(images, np.float32(1 / 255), dtype="float32")


# name -> (function, Keras's backend)
CONTENDERS = {
    **{f"keras_ae {backend}": (keras_ae_fit, backend) for backend in ("tensorflow", "jax", "torch")},
    **{f"keras {backend}": (stock_fit, backend) for backend in ("tensorflow", "jax", "torch")},
    "torch loop": (torch_loop, None),
    "jax loop": (jax_loop, None),
    "pythae": (pythae, None),
}
