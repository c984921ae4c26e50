"""The pictures of docs/understanding.md: what the loss does, collapse, priors, and more draws, on binarised MNIST.

python benchmarks/quality/understanding.py --backend jax --output docs/understanding

Eleven small VAEs of two gated layers are trained, and kept in --runs: about 15 minutes of two cores. All numbers in the
pictures are of the 10,000 test images, binarised once, or of the first 500 where there are several draws an image.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import likelihoods
import numpy as np
from _setup import add_places, flags, load, parser, prepare

EPOCHS = 4
DRAWS = (1, 5, 50, 500, 5000)
DIGITS = "tab10"
EXTENT = 4  # of the planes of codes, to each side, at least
SHOWN = 3000  # codes of a plane
USED = 0.1  # nats, at least, of a latent that is in use


def main() -> None:
    parse = parser(__doc__)
    flags.add_backend(parse)
    add = parse.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="where the pictures are written")
    add("--runs", type=Path, default=Path("runs/understanding"), metavar="DIR", help="where the models are kept")
    add("--epochs", type=flags.positive, default=EPOCHS, help="of each training")
    add_places(parse)
    args = parse.parse_args()
    prepare(parse, args.backend)
    dataset = load("mnist", args).binarized()
    args.output.mkdir(parents=True, exist_ok=True)
    for name, picture in {"weights": weights, "collapse": collapse, "priors": priors, "draws": draws}.items():
        figure = picture(dataset, args)
        figure.savefig(args.output / f"{name}.png", dpi=80)
        print(f"written: {args.output / name}.png", flush=True)


def trained(dataset, args, latent_dim: int, **settings):
    """The VAE of these settings, from its folder if there is one."""
    words = "-".join(f"{name}={value}" for name, value in settings.items()).replace(":", "")
    folder = args.runs / f"{latent_dim}-{args.epochs}-{words}"
    vae, _ = likelihoods.trained(
        folder, dataset, {"network": "gated", "latent_dim": latent_dim, **settings}, args.epochs
    )
    return vae


def weights(dataset, args):
    """Codes and samples of three weights of the KL."""
    columns = {f"KL weight {beta:g}": trained(dataset, args, 2, beta=beta) for beta in (0, 1, 10)}
    return planes(dataset, columns)


def priors(dataset, args):
    """Codes, densities and samples of four priors."""
    names = {"standard": "standard normal", "mixture:10": "10 Gaussians", "vamp:100": "100 VampPrior", "flow:6": "flow"}
    columns = {title: trained(dataset, args, 2, **_prior(name)) for name, title in names.items()}
    return planes(dataset, columns)


def _prior(name: str) -> dict:
    """The standard prior's model is the one of weight 1."""
    return {"beta": 1} if name == "standard" else {"prior": name}


def planes(dataset, models: dict):
    """A column for each model of two latents: the codes of test images over the prior's density, and samples."""
    from matplotlib.figure import Figure

    from keras_ae import evaluate

    figure = Figure((3.4 * len(models), 7), layout="constrained")
    axes = figure.subplots(2, len(models), squeeze=False)
    batch = dataset.test.batch(slice(0, SHOWN))
    for (title, vae), plane, below in zip(models.items(), *axes, strict=True):
        measured = evaluate(vae, dataset.test)
        codes, _ = vae.encode(batch["image"])
        extent = EXTENT if vae.prior.is_standard else max(EXTENT, float(np.quantile(abs(codes), 0.995)))
        _density(plane, vae, extent)
        dots = plane.scatter(*codes.T, c=batch["label"], cmap=DIGITS, s=3, linewidths=0)
        plane.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal", xticks=[], yticks=[])
        plane.set_title(title)
        numbers = (
            f"reconstruction {measured['reconstruction']:.0f} + KL {measured['kl']:.1f}, ELBO {measured['elbo']:.1f}"
        )
        plane.set_xlabel(numbers)
        below.imshow(_tiles(vae.sample(100, seed=0)), cmap="gray_r", vmin=0, vmax=1)
        below.set(xticks=[], yticks=[], xlabel="samples")
    figure.legend(*dots.legend_elements(), title="digit", loc="outside right center")
    return figure


def _density(axes, vae, extent: float) -> None:
    """Where the prior expects codes: lines of equal density, and darker where there is more."""
    from keras import ops

    line = np.linspace(-extent, extent, 161, dtype="float32")
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    density = ops.exp(vae.prior.log_prob(ops.convert_to_tensor(grid), vae.encode_pseudo_images))
    density = ops.convert_to_numpy(density).reshape(len(line), -1)
    axes.contourf(line, line, (density / density.max()) ** (1 / 3), 12, cmap="Greys", vmax=2)


def _tiles(images: np.ndarray, columns: int = 10) -> np.ndarray:
    height, width = images.shape[1:3]
    rows = images.reshape(-1, columns, height, width).transpose(0, 2, 1, 3)
    return rows.reshape(-1, columns * width)


def collapse(dataset, args):
    """The KL of each latent, most first, with and without what helps."""
    from matplotlib.figure import Figure

    from keras_ae import evaluate
    from keras_ae.objectives import kl_per_latent

    warmup = args.epochs * len(dataset.train) // 100 // 4
    settings = {
        "KL weight 4": {"beta": 4},
        "as it is": {"beta": 1},
        "the weight grows over the first quarter": {"kl_warmup_steps": warmup},
        "half a nat of each latent is free": {"free_bits": 0.5},
    }
    figure = Figure((9, 4.2), layout="constrained")
    axes = figure.subplots()
    images = dataset.test.batch(slice(None))["image"]
    for title, kwargs in settings.items():
        vae = trained(dataset, args, 40, **kwargs)
        measured = evaluate(vae, dataset.test)
        kl = np.asarray(kl_per_latent(*map(np.asarray, vae.encode(images)))).mean(axis=0)
        used = f"{(kl > USED).sum()} of 40 in use, ELBO {measured['elbo']:.1f}"
        axes.step(np.arange(40), np.sort(kl)[::-1], where="mid", label=f"{title}: {used}")
    axes.set(xlabel="latents, sorted", ylabel="KL of the latent (nats)", ylim=0)
    axes.legend()
    return figure


def draws(dataset, args):
    """The bound of two models by the number of draws."""
    from matplotlib.figure import Figure

    from keras_ae import evaluate

    figure = Figure((7, 4.2), layout="constrained")
    axes = figure.subplots()
    first = replace(dataset.test, indices=dataset.test.indices[:500])
    models = {"trained with K = 1 (ELBO)": {"beta": 1}, "trained with K = 10 (IWAE)": {"objective": "iwae:10"}}
    for (title, settings), below in zip(models.items(), (True, False), strict=True):
        vae = trained(dataset, args, 40, **settings)
        bounds = [evaluate(vae, first, draws=k)["log_likelihood"] for k in DRAWS]
        axes.plot(DRAWS, bounds, "o-", label=title)
        for k, bound in zip(DRAWS, bounds, strict=True):
            place = {"xytext": (0, -16 if below else 6), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{bound:.1f}", (k, bound), **place)
    axes.margins(y=0.12)
    axes.set(xscale="log", xlabel="draws K of the measurement", ylabel="bound (nats)")
    axes.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    flags.run(main)
