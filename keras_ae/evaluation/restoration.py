"""How near restored and completed images are to the true ones."""

import keras

from keras_ae import backends
from keras_ae.data import Split, evaluation_batches
from keras_ae.data.batches import EvaluationBatches
from keras_ae.models import VAE
from keras_ae.models.guarded import synchronise
from keras_ae.objectives import PSNR
from keras_ae.tasks import Task

COMPLETIONS = 4
COMPLETED = 64  # images at once


def evaluate_task(model: keras.Model, split: Split, task: Task, loss: str | None) -> dict[str, float]:
    """See `evaluate`."""
    # The same layers once more: the loss, metrics and optimizer that the model was compiled with stay.
    with backends.replicated():
        measured = keras.Model(model.inputs, model.output)
        measured.compile(optimizer="sgd", **task.measures(model, loss))
    synchronise(measured)
    results = measured.evaluate(evaluation_batches(split, task=task), return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    if task.name == "denoise":
        results["noisy_psnr"] = _noisy_psnr(split, task)
    return results


def _noisy_psnr(split: Split, task: Task) -> float:
    """PSNR of what the model is given."""
    metric = PSNR()
    for inputs, target in EvaluationBatches(split, 128, task):
        metric.update_state(target, inputs["image"])
    return float(metric.result())


def evaluate_completions(vae: VAE, split: Split, task: Task) -> dict[str, float]:
    """See `evaluate`."""
    single, mean = PSNR(), PSNR()
    for number, (inputs, target, missing) in enumerate(EvaluationBatches(split, COMPLETED, task)):
        first = COMPLETED * number
        labels = split.arrays["labels"][split.indices[first : first + len(target)]]
        completions = vae.complete(
            target,
            inputs["mask"],
            COMPLETIONS,
            labels=labels if vae.conditioning != "none" else None,
            noise=False,
            seed=number,
        )
        single.update_state(target, completions[:, 0], sample_weight=missing)
        mean.update_state(target, completions.mean(1), sample_weight=missing)
    return {"psnr_single": float(single.result()), "psnr_mean_of_4": float(mean.result())}
