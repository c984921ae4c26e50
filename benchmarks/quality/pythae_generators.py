"""Samples of pythae 0.1.2's generators for `generators.py`: VAE, RAE-L2 with ten Gaussians, VQ-VAE with a PixelCNN.

python benchmarks/quality/pythae_generators.py --dataset cifar10 --only vqvae --output vqvae.npz

Each has the layers of our "residual" networks, with Adam in batches of 128 for `--minutes`. The PixelCNN, which
cannot read a codebook of moving averages, has `--prior-epochs` in the same batches. Needs `pip install pythae==0.1.2`.
"""

import sys
import time
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from _setup import add_places, flags, load, parser, prepare

CODES, CHANNELS = 512, 16  # of the VQ-VAE's codebook
COMPONENTS = 10
BATCH_SIZE = 128
BLOCKS = 2  # at each level, as our "residual" networks have
ROWS = ("vae", "rae", "vqvae")


class Enough(Exception):  # noqa: N818 (not an error)
    """The minutes are over."""


def networks(shape, code_size: int, channels: int, *, width: int, heads: int, flat: bool, half: bool):
    """An encoder and a decoder for pythae, of bfloat16 if `half`. Codes are (batch, channels, code, code), or flat
    vectors of them."""
    import torch
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from torch import nn

    levels = round(np.log2(shape[0] / code_size))
    filters = [max(16, 4 * width // 2 ** (levels - 1 - level)) for level in range(levels)]

    class Block(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.first, self.second = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))
            nn.init.zeros_(self.second.weight)
            nn.init.zeros_(self.second.bias)

        def forward(self, x):
            return x + self.second(nn.functional.silu(self.first(x)))

    def blocks(features):
        return [Block(features) for _ in range(BLOCKS)]

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            layers, before = [], shape[2]
            for features in filters:
                layers += [nn.Conv2d(before, features, 4, 2, 1), nn.SiLU(), *blocks(features)]
                before = features
            self.layers = nn.Sequential(*layers)
            self.heads = nn.ModuleList(nn.Conv2d(before, channels, 1) for _ in range(heads))

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                x = self.layers(x)
            codes = [head(x.float()) for head in self.heads]
            codes = [code.flatten(1) for code in codes] if flat else codes
            return ModelOutput(**dict(zip(("embedding", "log_covariance"), codes, strict=False)))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            layers = [nn.ConvTranspose2d(channels, filters[-1], 1), nn.SiLU(), *blocks(filters[-1])]
            for features, before in zip(reversed(filters[:-1]), reversed(filters[1:]), strict=True):
                layers += [nn.ConvTranspose2d(before, features, 4, 2, 1), nn.SiLU(), *blocks(features)]
            self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(filters[0], shape[2], 4, 2, 1))

        def forward(self, z):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                x = self.layers(z.reshape(-1, channels, code_size, code_size))
            return ModelOutput(reconstruction=x.float() + 0.5)

    torch.manual_seed(0)
    return Encoder(), Decoder()


def model_of(row: str, shape, code_size: int, code_channels: int, width: int, half: bool):
    from pythae.models import RAE_L2, VAE, VQVAE, RAE_L2_Config, VAEConfig, VQVAEConfig

    made = partial(networks, shape, code_size, width=width, half=half)
    size = {"input_dim": (shape[2], *shape[:2]), "latent_dim": code_size**2 * code_channels}
    if row == "vqvae":
        config = VQVAEConfig(input_dim=size["input_dim"], latent_dim=CHANNELS, num_embeddings=CODES)
        return VQVAE(config, *made(CHANNELS, heads=1, flat=False))
    if row == "rae":
        return RAE_L2(RAE_L2_Config(**size), *made(code_channels, heads=1, flat=True))
    return VAE(VAEConfig(**size), *made(code_channels, heads=2, flat=True))


def fit(model, pixels, minutes: float, rate: float, folder: Path) -> float:
    """Trains for so long, and gives the epochs."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    started, steps = time.perf_counter(), 0

    class Stop(TrainingCallback):
        def on_train_step_end(self, training_config, **kwargs):
            nonlocal steps
            steps += 1
            if time.perf_counter() > started + 60 * minutes:
                raise Enough

    config = BaseTrainerConfig(
        output_dir=str(folder), per_device_train_batch_size=BATCH_SIZE, num_epochs=10_000, learning_rate=rate, seed=0
    )
    trainer = BaseTrainer(
        model, BaseDataset(pixels, torch.zeros(len(pixels))), training_config=config, callbacks=[Stop()]
    )
    try:
        trainer.train()
    except Enough:
        return steps * BATCH_SIZE / len(pixels)


def sampler_of(row: str, model, pixels, prior_epochs: int, rate: float, folder: Path):
    """pythae's own, fitted."""
    from pythae.samplers import (
        GaussianMixtureSampler,
        GaussianMixtureSamplerConfig,
        NormalSampler,
        PixelCNNSampler,
        PixelCNNSamplerConfig,
    )
    from pythae.trainers import BaseTrainerConfig

    if row == "vae":
        return NormalSampler(model)
    if row == "rae":
        sampler = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=COMPONENTS))
        sampler.fit(pixels)
        return sampler
    sampler = PixelCNNSampler(model, PixelCNNSamplerConfig(n_layers=10))
    config = BaseTrainerConfig(
        output_dir=str(folder), per_device_train_batch_size=BATCH_SIZE, num_epochs=prior_epochs, learning_rate=rate
    )
    sampler.fit(pixels, training_config=config)
    return sampler


def main() -> None:
    parse = parser(__doc__)
    add = parse.add_argument
    add("--dataset", default="cifar10", help="cifar10 or fashion_mnist")
    add("--only", choices=ROWS, required=True, metavar="ROW", help=f"one of {', '.join(ROWS)}")
    add("--code-size", type=flags.positive, default=8, help="places of a side of the code")
    add("--code-channels", type=flags.positive, default=4, help="of vae and rae")
    add("--width", type=flags.positive, default=24, help="a quarter of the last convolution's features")
    add("--minutes", type=float, default=60, help="of the autoencoder's training")
    add("--learning-rate", type=float, default=1e-3, help="of Adam")
    add("--bfloat16", action="store_true", help="of encoder and decoder: pythae itself has float32 alone")
    add("--prior-epochs", type=flags.positive, default=20, help="of the PixelCNN")
    add("--count", type=flags.positive, default=10_000, help="samples")
    add("--output", type=Path, required=True, metavar="FILE", help="an .npz of the samples, for generators.py")
    add_places(parse)
    args = parse.parse_args()
    prepare(parse, "torch")
    dataset = load(args.dataset, args)
    import torch

    shape = dataset.image_shape
    images = dataset.train.batch(slice(None))["image"]
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    folder = args.output.with_suffix("")
    with redirect_stdout(sys.stderr):
        model = model_of(args.only, shape, args.code_size, args.code_channels, args.width, args.bfloat16)
        epochs = fit(model, pixels, args.minutes, args.learning_rate, folder)
        model.eval()
        started = time.perf_counter()
        sampler = sampler_of(args.only, model, pixels, args.prior_epochs, args.learning_rate, folder)
        fitted = time.perf_counter() - started
        torch.manual_seed(0)
        started = time.perf_counter()
        drawn = sampler.sample(num_samples=args.count).clamp(0, 1).numpy().transpose(0, 2, 3, 1)
    np.savez(args.output, images=(drawn * 255).round().astype("uint8"), seconds=time.perf_counter() - started)
    print(f"{args.only}: {epochs:.1f} epochs, {fitted / 60:.1f} minutes of its prior; written: {args.output}")


if __name__ == "__main__":
    flags.run(main)
