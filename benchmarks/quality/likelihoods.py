"""Test log-likelihoods of VAEs on binarised MNIST and Fashion-MNIST, as papers report them.

python benchmarks/quality/likelihoods.py --runs runs/likelihoods --only mnist-vae

Each model is trained on images that are binarised anew in each epoch, with 10,000 of the training images held out; the
weights of the lowest validation loss are measured on all 10,000 test images, binarised once, by importance sampling. A
training that was stopped resumes. A row takes about an hour of two cores.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _setup import add_places, environment, flags, load, parser, prepare

RATE = 2e-3  # of Adam, at its peak: 3e-3 without a clipped norm ended in NaN
CLIP = 100  # the largest norm of all gradients together
WARMUP = 0.1  # of the steps, of the weight of the KL
GATED = {"network": "gated", "latent_dim": 40}
LEVELS = {"network": "hierarchical", "latent_dim": [(40,), (40,)]}
PLACES = {"network": "hierarchical", "latent_dim": [(4, 4, 4), (7, 7, 4)], "width": 16}
IWAE = {"network": "mlp", "latent_dim": 50}
# name -> (settings of the model, of the training, draws of the measurement)
MODELS = {
    "vae": (GATED, {"epochs": 400}, 5000),
    "vamp": ({**GATED, "prior": "vamp:500"}, {"epochs": 200, "batch_size": 250}, 5000),
    "flow": ({**GATED, "prior": "flow:6"}, {"epochs": 300}, 5000),
    "hvae": (LEVELS, {"epochs": 300}, 5000),
    "hvae-vamp": ({**LEVELS, "prior": "vamp:500"}, {"epochs": 150, "batch_size": 250}, 5000),
    "iwae-1": ({**IWAE, "objective": "iwae:1"}, {"epochs": 400, "validation": 0}, 5000),
    "iwae-5": ({**IWAE, "objective": "iwae:5"}, {"epochs": 200, "validation": 0}, 5000),
    "iwae-50": ({**IWAE, "objective": "iwae:50"}, {"epochs": 40, "validation": 0}, 5000),
    "hvae-conv": (PLACES, {"epochs": 30}, 500),
    "hvae-conv-vamp": ({**PLACES, "prior": "vamp:500"}, {"epochs": 20, "batch_size": 250}, 500),
    "conv": ({"network": "residual", "latent_dim": 40, "prior": "flow:6"}, {"epochs": 40}, 500),
}
DATASETS = {"mnist": list(MODELS), "fashion_mnist": [name for name in MODELS if not name.startswith("iwae")]}
ROWS = {f"{dataset.split('_')[0]}-{name}": (dataset, name) for dataset, names in DATASETS.items() for name in names}

HEAD = """| row | epochs | minutes | validation ELBO | test ELBO | test log-likelihood | draws |
| --- | --- | --- | --- | --- | --- | --- |"""


def trained(
    folder: Path, dataset, settings: dict, epochs: int, batch_size: int = 100, seed: int = 0, precision: str = "float32"
):
    """The VAE of these settings, of the lowest validation loss if something validates; and the seconds that its
    training took, in all its parts. What `folder` holds of it is not done again."""
    import keras
    from keras.optimizers.schedules import CosineDecay

    import keras_ae
    from keras_ae import data, training

    training.prepare(precision, seed)
    vae = keras_ae.build_vae(dataset.image_shape, likelihood="bernoulli", seed=seed, **settings)
    vae.adapt(dataset.train)
    steps = epochs * data.steps_per_epoch(dataset.train, batch_size)
    rate = CosineDecay(RATE / 10, steps - 500, warmup_target=RATE, warmup_steps=500)
    vae.compile(keras.optimizers.Adam(rate, global_clipnorm=CLIP))
    before, started = _seconds(folder), time.time()

    def note(epoch, logs):
        (folder / "seconds.json").write_text(json.dumps(before + time.time() - started))

    keras_ae.train(
        vae,
        dataset,
        folder,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=note)],
    )
    best = folder / "best.keras"
    return keras_ae.load_model(best if best.exists() else folder / "model.keras"), _seconds(folder)


def _seconds(folder: Path) -> float:
    path = folder / "seconds.json"
    return json.loads(path.read_text()) if path.exists() else 0.0


def main() -> None:
    parse = parser(__doc__)
    flags.add_backend(parse)
    add = parse.add_argument
    add("--runs", type=Path, required=True, metavar="DIR", help="where the runs are, or will be")
    add("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"some of {', '.join(ROWS)}")
    add("--epochs", type=flags.positive, help="instead of each row's own")
    add("--draws", type=flags.positive, help="of the measurement, instead of each row's own")
    add("--images", type=flags.positive, metavar="N", help="measure the first N test images alone")
    add("--batch-size", type=flags.positive, help="images a step, instead of each row's own")
    precisions = ("float32", "mixed_bfloat16")
    add("--precision", choices=precisions, default="float32", help="of training and measurement")
    add("--seed", type=int, default=0, help="of weights, order, binarisation and noise")
    add_places(parse)
    args = parse.parse_args()
    environment.restart_with_allocator()
    prepare(parse, args.backend)
    print(HEAD)
    for row in args.only or ROWS:
        name, model = ROWS[row]
        settings, plan, draws = MODELS[model]
        print(as_row(row, *measured(args, row, name, settings, dict(plan), args.draws or draws)), flush=True)


def measured(args, row: str, name: str, settings: dict, plan: dict, draws: int):
    from keras_ae import evaluate

    dataset = load(name, args, validation=plan.pop("validation", 10_000)).binarized()
    epochs = args.epochs or plan["epochs"]
    batch_size = args.batch_size or plan.get("batch_size", 100)
    folder = args.runs / row
    if "objective" not in settings:
        steps = epochs * len(dataset.train) // batch_size
        settings = {"kl_warmup_steps": round(WARMUP * steps), **settings}
    vae, seconds = trained(folder, dataset, settings, epochs, batch_size, args.seed, args.precision)
    validation = evaluate(vae, dataset.validation)["elbo"] if len(dataset.validation) else None
    test = replace(dataset.test, indices=dataset.test.indices[: args.images])
    measures = evaluate(vae, test, draws=draws, kept=folder, verbose=sys.stderr.isatty())
    return epochs, seconds, validation, measures


def as_row(row, epochs, seconds, validation, test) -> str:
    likelihood = f"{test['log_likelihood']:.2f} ± {test['standard_error']:.2f}"
    elbo = "-" if validation is None else f"{validation:.2f}"
    return f"| {row} | {epochs} | {seconds / 60:.0f} | {elbo} | {test['elbo']:.2f} | {likelihood} | {test['draws']} |"


if __name__ == "__main__":
    flags.run(main)
