"""What the default network and schedule are worth: one thing changed at a time, trained for as many batches.

python benchmarks/quality/variants.py

The default network for CIFAR-10 without labels, its optimizer and schedule over `--batches` batches of 128 mirrored
images, scored on the validation images. Compare what costs more or less a step at equal time, for example by
--only default --width 64 --batches 245.
"""

import sys
import time
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from _setup import add_places, environment, flags, load, parser, prepare

PARTS = 7  # of the schedule: the time of a step is their median, without the first


def changed(model, change):
    """The same Keras model with what `change(layer, config)` makes of its convolutions and dense layers.

    `change` returns a layer, or None to take `config`, which it may have altered.
    """
    import keras
    from keras import layers

    def clone(layer):
        config = layer.get_config()
        replaced = change(layer, config) if isinstance(layer, layers.Conv2D | layers.Dense) else None
        return replaced or type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=clone)


def inner(config) -> bool:
    """Neither a network's last layer nor a latent's."""
    return config["activation"] != "linear"


def setting(**values):
    """A change of the settings of that name: of the inner layers, the kernel's size of all."""

    def change(layer, config):
        for name, value in values.items():
            if name in config and (name == "kernel_size" or inner(config)):
                config[name] = value

    return change


def normalised(kind, **arguments):
    """A normalisation between each inner layer and its activation."""

    def change(layer, config):
        from keras import Sequential, layers

        if not inner(config):
            return None
        activation = layers.Activation(config["activation"])
        plain = type(layer).from_config({**config, "activation": "linear"})
        return Sequential([plain, getattr(layers, kind)(**arguments), activation], name=config["name"])

    return change


def deeper(layer, config):
    """One more 3x3 convolution on both sides of the lowest features, 4x4."""
    from keras import Sequential

    from keras_ae.layers import Conv2D

    same = type(layer).from_config(config)
    more = {"padding": "same", "activation": config["activation"]}
    if layer.output.shape[1:3] == (4, 4):
        return Sequential([same, Conv2D(layer.output.shape[-1], 3, **more)], name=config["name"])
    if layer.input.shape[1:3] == (4, 4):
        return Sequential([Conv2D(layer.input.shape[-1], 3, **more), same], name=config["name"])
    return None


def unbiased(layer, config):
    if config["name"] == "output":
        config["bias_initializer"] = "zeros"


# name -> (change of the networks, schedule, peak rate)
VARIANTS = {
    "default": (None, "cosine", 3e-3),
    "kernel 3": (setting(kernel_size=3), "cosine", 3e-3),
    "kernel 6": (setting(kernel_size=6), "cosine", 3e-3),
    "deeper": (deeper, "cosine", 3e-3),
    "relu": (setting(activation="relu"), "cosine", 3e-3),
    "leaky_relu": (setting(activation="leaky_relu"), "cosine", 3e-3),
    "gelu": (setting(activation="gelu"), "cosine", 3e-3),
    "batch normalisation": (normalised("BatchNormalization", momentum=0.9), "cosine", 3e-3),
    "group normalisation": (normalised("GroupNormalization", groups=8), "cosine", 3e-3),
    "he_normal": (setting(kernel_initializer="he_normal"), "cosine", 3e-3),
    "orthogonal": (setting(kernel_initializer="orthogonal"), "cosine", 3e-3),
    "output bias 0": (unbiased, "cosine", 3e-3),
    "batch normalisation, peak 4.5e-3": (normalised("BatchNormalization", momentum=0.9), "cosine", 4.5e-3),
    "peak 2e-3": (None, "cosine", 2e-3),
    "peak 4.5e-3": (None, "cosine", 4.5e-3),
    "no warm-up": (None, "cosine alone", 3e-3),
    "linear decay, no warm-up": (None, "linear", 3e-3),
    "constant rate, no warm-up": (None, "constant", 3e-3),
}


def optimizer(kind: str, peak: float, steps: int):
    """The scripts' own for "cosine"; the others have no warm-up."""
    from keras.optimizers import schedules

    from keras_ae import Muon, optimizers

    total = PARTS * steps
    if kind == "cosine":
        return optimizers.recipe(steps, PARTS, peak)
    rates = {
        "cosine alone": schedules.CosineDecay(peak, total),
        "linear": schedules.PolynomialDecay(peak, total, 0.0),
        "constant": peak,
    }
    return Muon(rates[kind])


def trained(name: str, images, validation, width: int, batches: int, seed: int) -> tuple[float, float]:
    """(milliseconds of a step, SSE + KL of the validation images)."""
    import _contenders
    import keras
    from _networks import default_network, keras_networks

    from keras_ae import VAE

    keras.utils.set_random_seed(seed)
    change, schedule, peak = VARIANTS[name]
    network = default_network(32, width, batch_size=128)
    networks = keras_networks(network)
    vae = VAE(*(changed(model, change) for model in networks) if change else networks)
    steps = batches // PARTS
    marks, scores = [], []

    def tick(score):
        marks.append(time.perf_counter())
        if len(marks) == PARTS + 1:
            scores.append(score(validation))

    with redirect_stdout(sys.stderr):
        _contenders.fit_vae(vae, optimizer(schedule, peak, steps), network, images, steps, PARTS, tick, flip=True)
    seconds = [end - begin for begin, end in pairwise(marks[1:])]
    return 1000 * median(seconds) / steps, scores[0]


def main() -> None:
    parse = parser(__doc__)
    flags.add_backend(parse)
    parse.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", help=f"some of {'; '.join(VARIANTS)}")
    parse.add_argument("--width", type=flags.positive, default=32, help="of the networks")
    parse.add_argument("--batches", type=flags.positive, default=756, help="of the whole schedule")
    parse.add_argument("--seeds", type=flags.positive, default=1, help="trainings of each, from other weights")
    add_places(parse)
    args = parse.parse_args()
    environment.restart_with_allocator()
    prepare(parse, args.backend)
    dataset = load("cifar10", args)
    images, validation = (split.arrays["images"][split.indices] for split in (dataset.train, dataset.validation))
    print(f"{args.backend}, width {args.width}, {args.batches} batches\n")
    print("| | ms a step | SSE + KL |\n| --- | --- | --- |")
    for name in args.only or VARIANTS:
        runs = [trained(name, images, validation, args.width, args.batches, seed) for seed in range(args.seeds)]
        step = median(milliseconds for milliseconds, _ in runs)
        print(f"| {name} | {step:.0f} | {', '.join(f'{score:.2f}' for _, score in runs)} |", flush=True)


if __name__ == "__main__":
    flags.run(main)
