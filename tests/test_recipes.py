"""The recipes of CONTRIBUTING.md, followed: a new member of a list needs nothing but its entry there."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import data
from keras_ae.data import catalog, corruption
from keras_ae.networks import NETWORKS, Family
from keras_ae.objectives import ELBO, LIKELIHOODS, OBJECTIVES, REGULARIZERS, Likelihood, Regularizer
from keras_ae.priors import PRIORS, StandardNormal
from keras_ae.tasks import TASKS, Task
from tests.helpers import once

ROOT = Path(__file__).parent.parent

pytestmark = once("what a list knows does not depend on the backend")


@keras.saving.register_keras_serializable("keras_ae")
class Laplace(Likelihood):
    def call(self, image, output, sample_weight=None, training=False):
        error = keras.ops.sum(keras.ops.abs(image - output), axis=(1, 2, 3))
        return error, -error - image[0].shape[0] * np.log(2)


@keras.saving.register_keras_serializable("keras_ae")
class Wide(StandardNormal):
    is_standard = False

    def log_prob(self, z, encode=None):
        return super().log_prob(z / 3) - self.latents * np.log(3)

    def kl(self, z_mean, z_log_var):
        return None

    def sample(self, n, random, temperature=1.0, encode=None):
        return 3 * super().sample(n, random, temperature)


@keras.saving.register_keras_serializable("keras_ae")
class Sharp(ELBO):
    def terms(self, inference, **kwargs):
        vectors = super().terms(inference, **kwargs)
        return {**vectors, "loss": vectors["loss"] + vectors["reconstruction"]}


@keras.saving.register_keras_serializable("keras_ae")
class Size(Regularizer):
    term, weight_in_loss = "size", 0.5

    def terms(self, inference, sample_weight):
        return keras.ops.sum(keras.ops.square(inference.draw.z_mean), axis=1)


class Invert(Task):
    name = "invert"

    def _examples(self, batch, indices, seed, epoch):
        return {"image": batch["image"]}, 1 - batch["image"]


class Greys:
    name = "greys"

    def key(self):
        return {"name": "greys"}

    def write(self, writer):
        images = np.tile(np.arange(40, dtype="uint8")[:, None, None, None], (1, 8, 8, 1))
        for split in ("train", "test"):
            writer.append(split, images=images, labels=np.zeros(40, "int32"))
        return []


def _stripes(image, width, random):
    known = np.ones((*image.shape[:2], 1), "float32")
    known[:: 2 * int(width)] = 0
    return known


def test_a_likelihood(tmp_path, dataset, monkeypatch):
    monkeypatch.setitem(LIKELIHOODS, "laplace", Laplace)
    vae = keras_ae.conv_vae(dataset.image_shape, 2, likelihood="laplace", width=4)
    vae.compile("adam")
    keras_ae.train(vae, dataset, tmp_path, epochs=1, batch_size=16, verbose=False)
    saved = keras_ae.open_model(tmp_path / "model.keras", trust=True)
    assert saved.metadata["likelihood"] == "laplace"
    assert "elbo" in keras_ae.evaluate(saved.model, dataset.test)


def test_a_prior_an_objective_a_regularizer_and_a_network(tmp_path, dataset, monkeypatch):
    monkeypatch.setitem(PRIORS, "wide", Wide)
    monkeypatch.setitem(OBJECTIVES, "sharp", Sharp)
    monkeypatch.setitem(REGULARIZERS, "size", Size)
    monkeypatch.setitem(NETWORKS, "dense", Family(*NETWORKS["mlp"]))
    names = {"prior": "wide", "objective": "sharp", "regularizers": ["size"], "network": "dense"}
    vae = keras_ae.build_vae(dataset.image_shape, 2, width=4, **names)
    vae.compile("adam")
    history = keras_ae.train(vae, dataset, tmp_path, epochs=1, batch_size=16, verbose=False).history
    assert history["loss"][0] == pytest.approx(
        2 * history["reconstruction"][0] + history["kl"][0] + 0.5 * history["size"][0], rel=1e-5
    )
    saved = keras_ae.open_model(tmp_path / "model.keras", trust=True)
    del names["network"]  # which the file holds as a whole
    assert {name: saved.metadata[name] for name in names} == names
    assert saved.model.sample(3, seed=0).shape == (3, *dataset.image_shape)


def test_a_task(tmp_path, dataset, monkeypatch):
    monkeypatch.setitem(TASKS, "invert", Invert)
    task = keras_ae.get_task("invert")
    model = keras_ae.conv_autoencoder(dataset.image_shape, 2, 4, task="invert", width=4)
    model.compile("adam", **task.measures(model))
    keras_ae.train(model, dataset, tmp_path, epochs=1, batch_size=16, task=task, verbose=False)
    saved = keras_ae.open_model(tmp_path / "model.keras")
    assert saved.task().name == "invert"
    assert "psnr" in keras_ae.evaluate(saved.model, dataset.test, task=saved.task())


def test_a_corruption(dataset, monkeypatch):
    monkeypatch.setitem(corruption.KINDS, "stripes", corruption.Kind(_stripes, True, "width in pixels", float("inf")))
    inputs, *_ = keras_ae.get_task("complete", "stripes:2").take(dataset.test, slice(0, 2))
    assert inputs["mask"][0, :, 0, 0].tolist() == [0, 1, 1, 1, 0, 1, 1, 1]


def test_a_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "_source", lambda name, *_: Greys())
    greys = data.load("greys", cache_dir=tmp_path)
    assert greys.image_shape == (8, 8, 1)
    assert len(greys.train) + len(greys.validation) == len(greys.test) == 40


def test_the_recipes_name_what_exists():
    recipes = (ROOT / "CONTRIBUTING.md").read_text().split("## To add")[1].split("\n## ")[0]
    paths = re.findall(r"`((?:keras_ae|train|tests|benchmarks|docs)/[\w/.]*)", recipes)
    assert len(paths) > 8
    for path in paths:
        assert (ROOT / path).exists(), path
