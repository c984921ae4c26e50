"""Test log-likelihoods of pythae 0.1.2's VAE and VAMP on binarised images, by keras_ae's evaluation.

python benchmarks/quality/pythae_likelihoods.py --runs runs/pythae --only mnist-vae

Network, images, Adam and the peak and cosine of its rate are those of `likelihoods.py`. The trainer and the losses are
pythae's: its rate starts at the peak, no norm is clipped, and only VAMP's KL gets a growing weight. Its weights are put
into a VAE of keras_ae of the same layers, which is measured as all others are. Needs `pip install pythae==0.1.2`. A
training that was stopped starts anew.
"""

import time
from pathlib import Path

import likelihoods
import numpy as np
from _setup import add_places, flags, load, parser, prepare

WIDTH, LATENTS = 300, 40
MODELS = {"vae": "standard", "vamp": "vamp:500"}  # name -> our prior
ROWS = {f"{dataset.split('_')[0]}-{name}": (dataset, name) for dataset in likelihoods.DATASETS for name in MODELS}


def networks(pixels: int):
    """An encoder and a decoder for pythae, of the layers of our "gated" networks."""
    import torch
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Gated(torch.nn.Module):
        def __init__(self, features):
            super().__init__()
            self.value, self.gate = (torch.nn.Linear(features, WIDTH) for _ in range(2))

        def forward(self, x):
            return self.value(x) * torch.sigmoid(self.gate(x))

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.hidden = torch.nn.Sequential(torch.nn.Flatten(), Gated(pixels), Gated(WIDTH))
            self.mean, self.log_variance = (torch.nn.Linear(WIDTH, LATENTS) for _ in range(2))

        def forward(self, x):
            x = self.hidden(x)
            return ModelOutput(embedding=self.mean(x), log_covariance=self.log_variance(x))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.hidden = torch.nn.Sequential(Gated(LATENTS), Gated(WIDTH))
            self.output = torch.nn.Linear(WIDTH, pixels)

        def forward(self, z):
            return ModelOutput(reconstruction=torch.sigmoid(self.output(self.hidden(z))))

    torch.manual_seed(0)
    networks = Encoder(), Decoder()
    for module in (module for network in networks for module in network.modules()):
        if isinstance(module, torch.nn.Linear):  # as Keras starts them
            torch.nn.init.xavier_uniform_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return networks


def trained(dataset, name: str, epochs: int, batch_size: int, folder: Path):
    """pythae's model of the lowest validation loss."""
    import torch
    from pythae.data.datasets import BaseDataset, DatasetOutput
    from pythae.models import VAE, VAMP, VAEConfig, VAMPConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Drawn(BaseDataset):
        """Pixels drawn anew each time."""

        def __getitem__(self, index):
            return DatasetOutput(data=torch.bernoulli(self.data[index]), labels=self.labels[index])

    def tensors(split):
        images = torch.from_numpy(np.asarray(split.batch(slice(None))["image"], "float32"))
        return images, torch.zeros(len(images))

    shape = dataset.image_shape
    greys, drawn = dataset.train, dataset.binarized().validation
    settings = {"input_dim": shape, "latent_dim": LATENTS, "reconstruction_loss": "bce"}
    warmup = round(likelihoods.WARMUP * epochs)
    if name == "vamp":
        config = VAMPConfig(number_components=500, linear_scheduling_steps=warmup, **settings)
        model = VAMP(config, *networks(int(np.prod(shape))))
    else:
        model = VAE(VAEConfig(**settings), *networks(int(np.prod(shape))))
    trainer = BaseTrainer(
        model,
        Drawn(*tensors(greys)),
        BaseDataset(*tensors(drawn)),
        BaseTrainerConfig(
            output_dir=str(folder),
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=500,
            num_epochs=epochs,
            learning_rate=likelihoods.RATE,
            scheduler_cls="CosineAnnealingLR",
            scheduler_params={"T_max": epochs, "eta_min": likelihoods.RATE / 10},
            seed=0,
        ),
    )
    trainer.train()
    return trainer._best_model


def as_ours(model, image_shape, name: str):
    """The VAE of keras_ae with the weights of pythae's."""
    import torch

    import keras_ae

    def dense(layer):
        return [layer.weight.T, layer.bias]

    def hidden(network):
        gated = [module for module in network.hidden if hasattr(module, "gate")]
        return [weight for module in gated for layer in (module.value, module.gate) for weight in dense(layer)]

    vae = keras_ae.build_vae(image_shape, LATENTS, network="gated", likelihood="bernoulli", prior=MODELS[name])
    with torch.no_grad():
        encoder, decoder = model.encoder, model.decoder
        weights = [*hidden(encoder), *dense(encoder.mean), *dense(encoder.log_variance)]
        vae.encoder.set_weights([weight.numpy() for weight in weights])
        vae.decoder.set_weights([weight.numpy() for weight in [*hidden(decoder), *dense(decoder.output)]])
        if name == "vamp":
            vae.prior.pseudo_images.assign(model.pseudo_inputs(model.idle_input).reshape(-1, *image_shape))
    return vae


def main() -> None:
    parse = parser(__doc__)
    add = parse.add_argument
    add("--runs", type=Path, required=True, metavar="DIR", help="where the runs will be")
    add("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"some of {', '.join(ROWS)}")
    add("--epochs", type=flags.positive, default=200, help="of each training")
    add("--draws", type=flags.positive, default=5000, help="of the measurement")
    add("--batch-size", type=flags.positive, default=100, help="images a step")
    add_places(parse)
    args = parse.parse_args()
    prepare(parse, "torch")
    from keras_ae import evaluate

    print(likelihoods.HEAD)
    for row in args.only or ROWS:
        name, model = ROWS[row]
        dataset = load(name, args, validation=10_000)
        started = time.time()
        best = trained(dataset, model, args.epochs, args.batch_size, args.runs / row)
        seconds = time.time() - started
        vae = as_ours(best, dataset.image_shape, model)
        vae.compile()
        dataset = dataset.binarized()
        validation = evaluate(vae, dataset.validation)["elbo"]
        test = evaluate(vae, dataset, draws=args.draws, kept=args.runs)
        print(likelihoods.as_row(row, args.epochs, seconds, validation, test), flush=True)


if __name__ == "__main__":
    flags.run(main)
