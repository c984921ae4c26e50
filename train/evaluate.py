"""Measures a saved model on a split of a data set.

python train/evaluate.py saved_models/vae_shapes.keras
"""

import json
import math
from dataclasses import replace
from functools import partial

import _environment
import _flags

COMPLETED = 100  # images that a VAE completes, if --limit does not say: each takes about a second


def main() -> None:
    parse = _flags.Parser(description=__doc__.splitlines()[0])
    _flags.add_file(parse)
    _flags.add_backend(parse)
    _flags.add_data(parse, None)
    parse.add_argument("--split", choices=("train", "validation", "test"), default="test", help="which images")
    _flags.add_corruption(parse.add_argument, "instead of the one trained on; a VAE completes what it hides")
    parse.add_argument("--per-class", action="store_true", help="the images of each class apart, too")
    parse.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parse.add_argument("--smoke", action="store_true", help="few images, to see that everything runs")
    args = parse.parse_args()
    if args.smoke:
        args.limit = args.limit or 20
    _environment.set_environment(parse, args.backend)
    from _files import File

    file = File(args.file, trust=args.trust)
    task = None if file.is_vae else file.task(args.corruption)
    dataset = file.load_dataset(args)
    split = file.split(dataset, args.split)
    if task:
        task.check(dataset)
        file.model.compile(**task.measures(file.model, file.metadata["flags"]["loss"]))
        measure = partial(measure_task, file.model, task)
    elif args.corruption:
        split = replace(split, indices=split.indices[: args.limit or COMPLETED])
        measure = partial(measure_completions, file.model, args.corruption, dataset)
    else:
        measure = partial(measure_vae, file.model)
    results = measure(split)
    if args.per_class:
        results["classes"] = by_class(measure, dataset, split)
    unit = "" if task or args.corruption else " (nats per image)"
    if args.json:
        about = {"file": str(args.file), "dataset": dataset.name, "split": args.split, "images": len(split)}
        print(json.dumps({**about, **results}))
    else:
        classes = results.pop("classes", {})
        _flags.table(f"{args.file}: {len(split):,} {args.split} images of {dataset.name}{unit}", results)
        for name, each in classes.items():
            _flags.table(name, each)


def measure_vae(vae, split) -> dict:
    import keras_ae
    from keras_ae import data

    results = _flags.measure(vae, data.evaluation_batches(split))
    if not isinstance(vae.likelihood, keras_ae.objectives.LIKELIHOODS["bernoulli"]):  # which is no density
        results["bits_per_dimension"] = 8 - results["elbo"] / (math.prod(vae.image_shape) * math.log(2))
    return results


def by_class(measure, dataset, split) -> dict[str, dict]:
    """The same of each class that has images in the split, and how many they are."""
    from keras_ae import InputError

    if not dataset.class_names:
        raise InputError(f"{dataset.name} has no classes; leave out --per-class")
    labels = split.arrays["labels"][split.indices]
    parts = {name: split.indices[labels == number] for number, name in enumerate(dataset.class_names)}
    parts = {name: replace(split, indices=rows) for name, rows in parts.items() if len(rows)}
    return {name: {"images": len(part), **measure(part)} for name, part in parts.items()}


def measure_task(model, task, split) -> dict:
    """The task's own measures; beside the noisy images' where there is noise."""
    from keras_ae import data

    results = _flags.measure(model, data.evaluation_batches(split, task=task))
    if task.name == "denoise":
        results["noisy_psnr"] = float(psnr_of(task, split))
    return {"task": task.name, "corruption": task.corruption or "none", **results}


def psnr_of(task, split):
    """PSNR of what the model is given."""
    from keras_ae.data.batches import EvaluationBatches
    from keras_ae.objectives import PSNR

    metric = PSNR()
    for inputs, target in EvaluationBatches(split, 128, task):
        metric.update_state(target, inputs["image"])
    return metric.result()


def measure_completions(vae, corruption: str, dataset, split) -> dict:
    """PSNR over missing pixels of single completions, and of the mean of four."""
    from keras_ae import get_task
    from keras_ae.data.batches import EvaluationBatches
    from keras_ae.objectives import PSNR

    task = get_task("complete", corruption)
    task.check(dataset)
    metrics = {"psnr_single": PSNR(), "psnr_mean_of_4": PSNR()}
    for number, (inputs, target, missing) in enumerate(EvaluationBatches(split, 64, task)):
        label = split.batch(slice(64 * number, 64 * number + 64))["label"] if vae.conditioning != "none" else None
        found = vae.complete(target, inputs["mask"], 4, labels=label, noise=False, seed=number)
        metrics["psnr_single"].update_state(target, found[:, 0], sample_weight=missing)
        metrics["psnr_mean_of_4"].update_state(target, found.mean(1), sample_weight=missing)
    scores = {name: float(metric.result()) for name, metric in metrics.items()}
    return {"task": "complete", "corruption": corruption, **scores}


if __name__ == "__main__":
    _flags.run(main)
