"""The members of the family, from the flags of a script to the file and its measures."""

import csv
import itertools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from tests.helpers import once

BACKEND = keras.backend.backend()
SMALL = ["--backend", BACKEND, "--dataset", "greys", "--batch-size", "16", "--epochs", "1", "--width", "4"]


@pytest.fixture
def greys(tmp_path, random):
    """A folder of 60 small grey images of two classes."""
    for number in range(60):
        folder = tmp_path / "greys" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), "uint8")).save(folder / f"{number}.png")


@once("tests/models trains each member on all backends")
def test_the_flags_make_the_model_and_the_file_says_what_it_is(script, greys):
    members = ["--network", "gated", "--prior", "mixture:3", "--objective", "iwae:2", "--latent-dim", "3"]
    data = ["--likelihood", "bernoulli", "--binarize", "--validation", "0"]
    code, out, err = script("vae", *SMALL, *members, *data, "--run-dir", "run")
    assert code == 0, err
    assert err == ""
    assert "54 training, 0 validation, 6 test images" in out
    saved = keras_ae.open_model("run/model.keras")
    about = {name: saved.metadata[name] for name in ("latent", "prior", "objective", "likelihood", "binarized")}
    assert about == {
        "latent": "gaussian",
        "prior": "mixture:3",
        "objective": "iwae:2",
        "likelihood": "bernoulli",
        "binarized": True,
    }
    assert (saved.model.prior.components, saved.model.objective.k) == (3, 2)
    assert set(np.unique(saved.load_dataset("greys").test.batch(slice(None))["image"])) == {0, 1}

    measured = ["run/model.keras", "--backend", BACKEND, "--dataset", "greys"]
    code, out, err = script("evaluate", *measured, "--draws", "40", "--json", "--per-class")
    assert code == 0, err
    results = json.loads(out)
    assert results["draws"] == 40
    assert results["elbo"] < results["log_likelihood"] < 0
    assert results["standard_error"] == pytest.approx(
        keras_ae.evaluate(saved.model, saved.load_dataset("greys"), draws=40)["standard_error"], rel=1e-4
    )
    assert set(results["classes"]) == {"a", "b"}
    code, out, _ = script("evaluate", *measured, "--draws", "40")
    assert code == 0
    assert f"{results['log_likelihood']:.5g}" in out
    for kind in ("samples", "interpolations"):
        code, _, err = script("sample", *measured, "--kind", kind, "--count", "4")
        assert code == 0, err


@once("tests/models trains each member on all backends")
def test_a_spatial_code_with_a_regularizer(script, greys):
    flags = ["--network", "residual", "--code-size", "2", "--code-channels", "3", "--regularizer", "tc:6"]
    code, out, err = script("vae", *SMALL, *flags, "--prior", "flow:2", "--validation", "6", "--run-dir", "run")
    assert code == 0, err
    assert "VAE of 12 latents" in out
    vae = keras_ae.load_model("run/best.keras")
    assert vae.latent_shape == (2, 2, 3)
    assert vae.objective.regularizers[0].weight == 6
    metadata = keras_ae.read_metadata("run/best.keras")
    assert (metadata["regularizers"], metadata["prior"]) == (["tc:6"], "flow:2")
    with open("run/history.csv") as file:
        assert "tc" in next(csv.reader(file))
    flags = ["--backend", BACKEND, "--dataset", "greys", "--kind", "completions", "--count", "4"]
    code, _, err = script("sample", "run/best.keras", *flags)
    assert code == 0, err


@once("tests/models trains each member on all backends")
def test_a_hierarchy_by_its_flags(script, greys):
    flags = ["--network", "hierarchical", "--levels", "2x2x2,4x4x1", "--likelihood", "logistic", "--prior", "vamp:3"]
    code, out, err = script("vae", *SMALL, *flags, "--run-dir", "run")
    assert code == 0, err
    assert "VAE of 2 levels of 2x2x2, 4x4x1 latents" in out
    assert "kl_2" in out
    test = keras_ae.read_metadata("run/model.keras")["test"]
    assert test["bits_per_dimension"] == pytest.approx(-test["elbo"] / (64 * np.log(2)), rel=1e-4)
    file = ["run/model.keras", "--backend", BACKEND, "--dataset", "greys"]
    for flags in (
        ["--temperature", "0.5,1"],
        ["--kind", "variations", "--level", "1"],
        ["--kind", "traversals", "--level", "2"],
    ):
        code, _, err = script("sample", *file, "--count", "4", *flags)
        assert code == 0, err
    code, out, err = script("evaluate", *file, "--draws", "4", "--json")
    assert code == 0, err
    results = json.loads(out)
    assert results["kl"] == pytest.approx(results["kl_1"] + results["kl_2"], rel=1e-4)
    assert results["bits_per_dimension"] == pytest.approx(-results["elbo"] / (64 * np.log(2)), rel=1e-4)
    for flags, message in (
        (["--kind", "samples", "--level", "1"], "samples are of all levels; leave out the level"),
        (["--kind", "variations", "--level", "3"], "there is no level 3; this model has 1 (the top) to 2"),
        (["--temperature", "1,1,1"], "3 temperatures for 2 levels"),
    ):
        code, _, err = script("sample", *file, *flags)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err


@once("flags and files")
def test_dequantized_pixels_are_the_models(script, greys):
    code, _, err = script("vae", *SMALL, "--likelihood", "gaussian", "--dequantize", "--run-dir", "run")
    assert code == 0, err
    saved = keras_ae.open_model("run/model.keras")
    assert saved.metadata["dequantized"]
    assert saved.load_dataset("greys").is_dequantized
    code, _, err = script("vae", *SMALL, "--likelihood", "logistic", "--dequantize", "--run-dir", "other")
    assert (code, err.count("\n")) == (2, 1), err
    assert "dequantised pixels are of a Gaussian likelihood" in err
    code, _, err = script("vae", *SMALL, "--binarize", "--dequantize", "--run-dir", "other")
    assert (code, err.count("\n")) == (2, 1), err
    assert "not allowed with argument --binarize" in err


@once("a warning of the training")
@pytest.mark.filterwarnings("default:the images have greys")
def test_bernoulli_warns_of_greys_that_are_not_binarized(script, greys):
    code, _, err = script("vae", *SMALL, "--likelihood", "bernoulli", "--run-dir", "run")
    assert code == 0, err
    assert "Draw them as 0 and 1 with --binarize" in err


@once("a search builds as a script does")
def test_a_search_takes_members_by_name(script, greys):
    flags = ["--backend", BACKEND, "--dataset", "greys", "--batch-size", "16", "--max-epochs", "1", "--width", "4"]
    flags += ["--likelihood", "bernoulli", "--binarize", "--latent-dims", "3", "--networks", "gated"]
    code, _, err = script("tune", *flags, "--priors", "standard,flow:2", "--regularizers", "none,tc:3")
    assert code == 0, err
    folder = Path("runs", f"tune-vae-greys-{BACKEND}")
    with open(folder / "trials.csv") as file:
        tried = {(row["prior"], row["regularizer"]) for row in csv.DictReader(file)}
    assert tried == set(itertools.product(("standard", "flow:2"), ("none", "tc:3")))
    saved = keras_ae.open_model(folder / "model.keras")
    about, tuned = saved.metadata, saved.metadata["tuned"]
    assert (about["prior"], about["regularizers"] or ["none"]) == (tuned["prior"], [tuned["regularizer"]])
    assert (about["binarized"], tuned["network"]) == (True, "gated")


MISTAKES = [
    (["--network", "unet"], "known are conv, residual, mlp, gated, hierarchical"),
    (["--network", "hierarchical"], "the network hierarchical cannot have the latents 16; levels are latents of"),
    (["--network", "hierarchical", "--levels", "2x2x1"], "1 level is no hierarchy"),
    (["--levels", "2x2x1,4x4x1"], "the network conv cannot have the latents"),
    (["--levels", "2x0x1,4x4x1"], "'2x0x1,4x4x1' are no levels; give e.g. 4x4x16,8x8x8, or 40,40"),
    (["--network", "hierarchical", "--levels", "2x2,4x4"], "a code of the shape (2, 2) is not possible"),
    (["--prior", "laplace"], "known are standard, mixture, vamp, flow"),
    (["--prior", "vamp:0"], "0 components are not possible; give 1 or more"),
    (["--prior", "standard:2"], "the prior standard takes no number; leave out ':2'"),
    (["--prior", "flow:many"], "the prior 'flow:many' is not possible; give a whole number of layers"),
    (["--objective", "iwae:5", "--beta", "2"], "beta change an ELBO; the objective IWAE is a bound without them"),
    (["--objective", "iwae:5", "--kl-warmup", "2"], "kl_warmup_steps change an ELBO"),
    (["--objective", "iwae:5", "--free-bits", "0.1"], "free_bits change an ELBO"),
    (["--objective", "iwae:5", "--regularizer", "tc:2"], "regularizer"),
    (["--regularizer", "hsic:2"], "known are tc"),
    (["--latent", "discrete"], "known are gaussian"),
    (["--validation", "60"], "60"),
    (["--dataset", "shapes", "--limit", "40", "--binarize"], "only grey images are binarized"),
]


@once("flags and their messages are the same everywhere")
@pytest.mark.parametrize(("flags", "message"), MISTAKES)
def test_what_cannot_be_is_refused_in_one_line(script, greys, flags, message):
    code, _, err = script("vae", *SMALL, *flags, "--run-dir", "run")
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err
