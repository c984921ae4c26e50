"""The real scripts: each for a few steps, and each mistake of a user one line and exit code 2."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import callbacks, files
from keras_ae.data.shapes import CLASS_NAMES
from keras_ae.latents import LATENTS
from keras_ae.networks import CONDITIONINGS, NETWORKS
from keras_ae.objectives import LIKELIHOODS, OBJECTIVES, REGULARIZERS
from keras_ae.priors import PRIORS
from tests.helpers import folder_with_masks, once, small_vae

TRAIN = Path(__file__).parent.parent / "train"
BACKEND = keras.backend.backend()


def smoke(script, run_dir, *arguments):
    return script("vae", "--backend", BACKEND, "--smoke", "--width", "4", "--run-dir", run_dir, *arguments)


@pytest.mark.parametrize(
    "name", ["vae", "conv_ae", "classifier", "tune", "sample", "evaluate", "encode", "prior", "export"]
)
def test_help_imports_no_framework_and_names_all_there_is(name):
    code = f"import sys; sys.argv = ['{name}.py', '--help']; sys.path.insert(0, r'{TRAIN}'); import {name}\n"
    code += f"try: {name}.main()\nexcept SystemExit: pass\nassert not {{'keras', 'numpy'}} & sys.modules.keys()"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert ("--backend {tensorflow,jax,torch}" in printed) == (name != "export")  # which has one backend
    if name == "vae":
        members = (*LATENTS, *PRIORS, *OBJECTIVES, *REGULARIZERS, *NETWORKS, *LIKELIHOODS, *CONDITIONINGS)
        assert [member for member in members if member not in printed] == []


def test_encode_and_decode(script, tmp_path):
    assert smoke(script, "run", "--latent", "fsq:5x5", "--code-size", "4", "--code-entropy", "0.1")[0] == 0
    code, out, err = script("encode", "run/model.keras", "--backend", BACKEND, "--smoke", "--output", "codes.npz")
    assert code == 0, err
    assert "written: codes.npz, tokens of 19 train images of shapes, 4x4 each" in out
    decode = ("--decode", "codes.npz", "--output", "images")
    code, out, err = script("encode", "run/model.keras", "--backend", BACKEND, *decode)
    assert code == 0, err
    assert "written: images, 19 images" in out
    assert len(list((tmp_path / "images").glob("*.png"))) == 19
    code, _, err = script("encode", "run/model.keras", "--backend", BACKEND, *decode)
    assert code == 2
    assert "images exists already; choose another name with --output" in err


def test_a_prior_is_fitted_to_the_codes_of_an_autoencoder(script, tmp_path):
    flags = ["--smoke", "--code-size", "2", "--code-channels", "3", "--width", "4", "--run-dir", "run"]
    assert script("conv_ae", "--backend", BACKEND, *flags)[0] == 0
    for prior, name in (("flow_matching:8", "flow"), ("gmm:2", "gmm")):
        fit = ("prior", "run/model.keras", "--backend", BACKEND, "--smoke", "--by-class", "--prior", prior)
        code, out, err = script(*fit, "--run-dir", name)
        assert code == 0, err
        assert "codes of 2x2x3" in out.replace("means", "codes")
        assert f"next: python train/sample.py {Path(name, 'model.keras')} --backend {BACKEND}" in out
        guided = ("--guidance", "2") if name == "flow" else ()
        sample = ("--labels", "star", "--count", "4", "--output", f"{name}.png", *guided)
        code, _, err = script("sample", f"{name}/model.keras", "--backend", BACKEND, *sample)
        assert code == 0, err
        code, _, err = script(*fit, "--run-dir", name)
        assert code == 2
        assert "model.keras exists already" in err
    assert (tmp_path / "flow" / "epoch_001_samples.png").exists()
    code, _, err = script(
        "prior", "run/model.keras", "--backend", BACKEND, "--smoke", "--prior", "vamp", "--run-dir", "x"
    )
    assert code == 2
    assert "unknown prior 'vamp'; known are gmm, flow_matching, autoregressive" in err


def test_tokens_get_a_transformer_that_resumes(script, tmp_path):
    assert smoke(script, "run", "--latent", "fsq:5x5", "--code-size", "4")[0] == 0
    fit = ("prior", "run/model.keras", "--backend", BACKEND, "--smoke", "--by-class", "--run-dir", "tokens")
    code, out, err = script(*fit, "--prior", "autoregressive:32", "--output", "generator.keras")
    assert code == 0, err
    assert "tokens of 4x4" in out
    Path("generator.keras").rename("before.keras")
    code, out, err = script(*fit, "--prior", "autoregressive:32", "--output", "generator.keras")
    assert code == 0, err
    one, other = (keras_ae.load_model(name) for name in ("before.keras", "generator.keras"))
    np.testing.assert_array_equal(*(model.sample(2, "star", seed=0) for model in (one, other)))
    sample = ("sample", "generator.keras", "--backend", BACKEND, "--labels", "star", "--count", "4", "--top-p", "0.9")
    assert script(*sample, "--guidance", "2", "--output", "stars.png")[0] == 0
    code, _, err = script("sample", "run/model.keras", "--backend", BACKEND, "--count", "4", "--top-p", "0.9")
    assert code == 2
    assert "the prior of this model takes no top_p; leave it out" in err


def test_features_and_a_discriminator_train_a_model_that_is_compared(script, tmp_path):
    train = ("classifier", "--backend", BACKEND, "--smoke", "--width", "8", "--run-dir", "classifier")
    code, out, err = script(*train)
    assert code == 0, err
    network = Path("classifier", "model.keras")
    assert "accuracy" in out
    assert f"next: python train/vae.py --dataset shapes --features {network}" in out
    flags = ("--latent", "fsq:5x5", "--code-size", "4", "--features", network, "--adversarial", "0.001")
    code, out, err = smoke(script, "run", *flags, "--feature-layers", "features_1,features_2")
    assert code == 0, err
    assert "features" in out
    Path("run", "model.keras").unlink()
    code, _, err = script("vae", "--resume", "run")
    assert code == 2
    assert f"resume with: python train/vae.py --resume run --features {tmp_path / network}" in err
    code, _, err = script("vae", "--resume", "run", "--features", network)
    assert code == 0, err
    measure = ("evaluate", "run/model.keras", "--backend", BACKEND, "--features", network, "--limit", "200")
    for kind, images in (("samples", 90), ("reconstructions", 90)):
        code, out, err = script(*measure, "--distances", kind, "--count", images, "--split", "train", "--json")
        assert code == 0, err
        results = json.loads(out, parse_constant=pytest.fail)
        assert (results["split"], results["images"]) == ("train", 90)
        assert results["features"] == "model.keras"
        assert results["frechet_distance"] > results["frechet_distance_floor"] > 0
    code, _, err = script(*measure, "--distances", "samples", "--count", "20")
    assert code == 2
    assert "20 images are too few for 32 features; give more images" in err
    code, _, err = smoke(script, "x", "--features", "run/model.keras")
    assert code == 2
    assert "features come from a functional model of images" in err
    code, _, err = script("sample", network, "--backend", BACKEND)
    assert code == 2
    assert "holds a classifier, whose features train/vae.py --features takes" in err
    code, _, err = script(*measure, "--distances", "samples", "--draws", "5")
    assert code == 2
    assert "--distances measures nothing else" in err


def test_train_sample_evaluate(script, tmp_path):
    code, out, err = smoke(script, "run")
    trained = out
    assert code == 0, err
    assert "80 test images" in out
    assert f"next: python train/sample.py {Path('run/model.keras')} --backend {BACKEND}" in out
    written = {path.name for path in (tmp_path / "run").iterdir()}
    pictures = {"epoch_001_reconstructions.png", "epoch_001_samples.png", "losses.png"}
    state = {"config.json", "history.csv", "checkpoint.npz", "best.keras", "model.keras", ".lock", ".process"}
    assert written == state | pictures

    assert script("sample", "run/model.keras", "--backend", BACKEND, "--labels", "star,2", "--count", "6")[0] == 0
    with Image.open("model-samples.png") as picture:
        assert 2 * 64 < picture.height < 3 * 64
        assert 3 * 64 < picture.width < 5 * 64
    for kind in ("reconstructions", "interpolations", "traversals", "completions"):
        code, out, err = script("sample", "run/model.keras", "--backend", BACKEND, "--kind", kind, "--limit", "80")
        assert code == 0, err
        assert out == f"written: model-{kind}.png\n"
    with Image.open("model-reconstructions.png") as picture:  # a row per class
        assert 64 < picture.height / len(CLASS_NAMES) < 80
    assert (
        script("sample", "run/model.keras", "--backend", BACKEND, "--separate", "--count", "3", "--labels", "0,1,2")[0]
        == 0
    )
    assert len(list(Path("model-samples").glob("*.png"))) == 3
    with Image.open("model-samples/002_triangle_000.png") as picture:
        assert picture.size == (32, 32)

    code, out, err = script("evaluate", "run/model.keras", "--backend", BACKEND, "--json", "--limit", "80")
    assert code == 0, err
    results = json.loads(out)
    assert (results["split"], results["images"]) == ("test", 80)
    assert {"elbo", "reconstruction", "kl", "mse", "psnr", "active_units"} <= results.keys()
    # A Gaussian of variance 1/2 that is exact codes a grey level of 256 in 8 + log2(pi) / 2 bits and more.
    assert 8.8 < results["bits_per_dimension"] < 9.2
    code, table, _ = script("evaluate", "run/model.keras", "--backend", BACKEND, "--limit", "80", "--per-class")
    assert code == 0
    assert "80 test images of shapes" in table
    losses = [float(line.split()[1]) for line in table.splitlines() if line.startswith("  loss")]
    assert len(losses) == 1 + len(CLASS_NAMES)
    assert min(losses[1:]) < losses[0] < max(losses[1:])

    for labels in ("\u00b2", "9" * 5000):
        code, _, err = script("sample", "run/model.keras", "--backend", BACKEND, "--labels", labels)
        assert (code, err.count("\n")) == (2, 1)
    code, _, err = script("sample", "run/model.keras", "--backend", BACKEND, "--mirrored")
    assert (code, "these are for restored images" in err) == (2, True)
    code, _, err = smoke(script, "again", "--start-from", "run/model.keras", "--latent-dim", "3")
    assert code == 2
    assert "holds another model" in err
    code, out, err = smoke(script, "again", "--start-from", "run/model.keras", "--learning-rate", "0")
    assert code == 0, err
    assert _loss(out) == pytest.approx(_loss(trained), abs=1e-3)  # no step moved the weights that it started from

    for name, extra in (("vae", ["--resume", "run"]), ("vae", ["--smoke", "--run-dir", "run"])):
        code, _, err = script(name, *extra, *([] if "--resume" in extra else ["--backend", BACKEND]))
        assert code == 2
        assert "exists already" in err


@once("tests/models fits and restores with each task on all backends")
@pytest.mark.parametrize("task", ["denoise", "complete", "segment"])
def test_an_autoencoder_restores(script, tmp_path, task):
    flags = ["--backend", BACKEND, "--task", task, "--smoke", "--run-dir", "run", "--width", "4", "--skip-connections"]
    code, out, err = script("conv_ae", *flags, "--image-size", "16", "--conditioning", "decoder")
    assert code == 0, err
    assert f"of code 2x2x128 to {task}" in out
    assert {f"epoch_001_{task}.png", "losses.png", "model.keras"} <= {path.name for path in Path("run").iterdir()}

    code, out, err = script("sample", "run/model.keras", "--backend", BACKEND, "--count", "8", "--limit", "80")
    assert (code, out) == (0, "written: model-restored.png\n"), err
    mirrored = script("sample", "run/model.keras", "--backend", BACKEND, "--count", "8", "--limit", "80", "--mirrored")
    assert mirrored[:2] == (0, "written: model-restored-2.png\n"), mirrored[2]
    assert Path("model-restored.png").read_bytes() != Path("model-restored-2.png").read_bytes()
    with Image.open("model-restored.png") as picture:
        assert 3 * 64 < picture.height < 4 * 64  # three rows of 8
        assert 8 * 64 < picture.width < 10 * 64

    code, out, err = script("evaluate", "run/model.keras", "--backend", BACKEND, "--json", "--limit", "80")
    assert code == 0, err
    results = json.loads(out)
    assert results["task"] == task
    measures = {"mean_iou"} if task == "segment" else {"mse", "psnr", "ssim"}
    assert measures <= results.keys()
    if task == "denoise":
        assert 20 < results["noisy_psnr"] < 21  # of 25/255, clipped
        assert "makes no samples" in script("sample", "run/model.keras", "--backend", BACKEND, "--kind", "samples")[2]


@once("files and their names")
@pytest.mark.filterwarnings("default:.*skipped")
def test_restored_images_keep_the_names_of_a_folder(script, tmp_path):
    folder_with_masks(tmp_path / "own")
    flags = ["--backend", BACKEND, "--dataset", "own", "--run-dir", "run", "--width", "4", "--smoke"]
    code, _, err = script("conv_ae", *flags, "--task", "complete", "--corruption", "masks")
    assert code == 0, err
    flags = ["--backend", BACKEND, "--dataset", "own", "--split", "all", "--separate", "--output", "restored"]
    code, _, err = script("sample", "run/model.keras", *flags)
    assert code == 0, err
    assert {path.name for path in Path("restored").iterdir()} == {f"{number}.png" for number in range(6)}
    for number in range(6):
        with Image.open(f"own/{number}.png") as before, Image.open(f"restored/{number}.png") as after:
            with Image.open(f"own/{number}_mask.png") as mask:
                known = np.asarray(mask) == 0
            np.testing.assert_array_equal(np.asarray(before)[known], np.asarray(after)[known])


@once("files and their names")
@pytest.mark.filterwarnings("default:.*skipped")
def test_photographs_come_back_whole(script, tmp_path, random):
    """In their own sizes, with their own channels and names."""
    flags = ["--backend", BACKEND, "--task", "denoise", "--skip-connections", "--code-size", "4", "--width", "4"]
    code, _, err = script("conv_ae", *flags, "--run-dir", "run", "--smoke", "--image-size", "16")
    assert code == 0, err
    (tmp_path / "own" / "cats").mkdir(parents=True)
    (tmp_path / "own" / "dogs").mkdir()
    sizes = {"cats/a.jpg": (40, 70, 3), "cats/a.png": (33, 20, 3), "dogs/grey.png": (50, 16)}
    for name, size in sizes.items():
        Image.fromarray(random.integers(0, 256, size, "uint8")).save(tmp_path / "own" / name)
    flags = ["--backend", BACKEND, "--dataset", "own", "--split", "all", "--separate"]
    code, out, err = script("sample", "run/model.keras", *flags, "--corruption", "none", "--output", "restored")
    assert code == 0, err
    assert "written: restored" in out
    found = {}
    for path in Path("restored").rglob("*.png"):
        with Image.open(path) as image:
            found[str(path.relative_to("restored"))] = (*image.size[::-1], *([3] if image.mode == "RGB" else []))
    assert found == {"cats/a.png": (40, 70, 3), "cats/a.png.png": (33, 20, 3), "dogs/grey.png": (50, 16)}
    model = keras_ae.load_model("run/model.keras")
    with Image.open("own/dogs/grey.png") as before, Image.open("restored/dogs/grey.png") as after:
        expected = keras_ae.PhotographRestorer(model)(np.asarray(before)[..., None] / np.float32(255))[..., 0]
        np.testing.assert_allclose(np.asarray(after) / 255, expected, atol=0.51 / 255)
    code, _, err = script("sample", "run/model.keras", *flags, "--mirrored", "--count", "1", "--output", "one")
    assert code == 0, err
    assert [path.name for path in Path("one").rglob("*.png")] == ["a.png"]
    code, _, err = script("sample", "run/model.keras", *flags[:5], "train", "--separate", "--output", "other")
    assert (code, "whole photographs are of the split all or test, not train" in err) == (2, True)


@once("files and their names")
@pytest.mark.filterwarnings("default:.*skipped")
def test_a_model_of_one_size_says_why_it_cannot_take_photographs(script, tmp_path, random):
    flags = ["--backend", BACKEND, "--width", "4", "--code-size", "1", "--conditioning", "none"]
    code, _, err = script("conv_ae", *flags, "--run-dir", "run", "--smoke", "--image-size", "16")
    assert code == 0, err
    (tmp_path / "own").mkdir()
    for number in range(4):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), "uint8")).save(tmp_path / "own" / f"{number}.png")
    flags = ["--backend", BACKEND, "--dataset", "own", "--split", "all", "--separate", "--output"]
    assert script("sample", "run/model.keras", *flags, "restored")[0] == 0  # of its own size
    assert len(list(Path("restored").iterdir())) == 4
    Image.fromarray(random.integers(0, 256, (20, 16, 3), "uint8")).save(tmp_path / "own" / "large.png")
    code, _, err = script("sample", "run/model.keras", *flags, "other")
    assert (code, err.count("\n")) == (2, 1), err
    assert "this model is of images of one size: each place of its code stands for a part of them" in err


@pytest.mark.filterwarnings("default:.*skipped")
def test_an_unconditional_model_of_own_images(script, tmp_path):
    (tmp_path / "own").mkdir()
    for number in range(8):
        Image.new("RGB", (20, 16), (30 * number, 99, 0)).save(tmp_path / "own" / f"{number}.png")
    (tmp_path / "own" / "notes.txt").write_text("no image")
    code, out, err = smoke(script, "run", "--dataset", "own", "--image-size", "9x12", "--output", "own.keras")
    assert code == 0, err
    assert "of 9x12x3" in out
    assert "notes.txt" in err
    assert script("sample", "own.keras", "--backend", BACKEND, "--count", "5")[0] == 0
    code, _, err = script("sample", "own.keras", "--backend", BACKEND, "--labels", "cat")
    assert (code, err) == (2, "sample.py: error: this model is not conditional: leave out the labels\n")


def test_files_without_metadata_say_what_is_missing(script, tmp_path):
    """As `keras_ae.save_model(model, path)` writes them."""
    keras_ae.save_model(small_vae(), "vae.keras")
    keras_ae.save_model(keras_ae.conv_autoencoder((8, 8, 3), 2, 4, width=4), "ae.keras")
    for name, flags in (("sample", ["--kind", "traversals"]), ("evaluate", [])):
        code, _, err = script(name, "vae.keras", "--backend", BACKEND, *flags)
        said = "vae.keras does not say what it was trained on; name the data set to use with --dataset"
        assert (code, err) == (2, f"{name}.py: error: {said}\n")
        code, _, err = script(name, "ae.keras", "--backend", BACKEND, "--dataset", "shapes")
        assert (code, err.count("\n")) == (2, 1)
        assert "save it with save_model(model, path, keras_ae.saving.metadata(model, dataset, task=task))" in err
    assert script("sample", "vae.keras", "--backend", BACKEND, "--smoke")[0] == 0


def _loss(printed: str) -> float:
    """The test images' loss in the summary."""
    return float(next(line.split()[1] for line in printed.splitlines() if line.strip().startswith("loss")))


MISTAKES = [
    (["vae", "--backend", "theano"], "invalid choice: 'theano'"),
    (["vae", "--image-size", "0"], "'0' is not an image size"),
    (["vae", "--epochs", "0"], "'0' is not a whole number from 1 to 1,000,000,000"),
    (["vae", "--learning-rate", "-1"], "'-1' is not a number from 0 to 1,000,000,000"),
    (["vae", "--likelihood", "poisson", "--limit", "20"], "known are squared_error, bernoulli"),
    (["vae", "--conditioning", "all", "--limit", "20"], "known are none, decoder, both"),
    (["vae", "--resume", "nowhere"], "give the folder of a run"),
    (["vae", "--resume", "nowhere", "--epochs", "7"], "leave out epochs"),
    (["sample", "nowhere.keras"], "there is no file nowhere.keras"),
    (["evaluate", "text.keras"], "no .keras file, or a truncated one"),
    (["vae", "--dataset", "text.keras"], "is a file; give the folder"),
    (["vae", "--output", "text.keras"], "text.keras exists already"),
    (["vae", "--checkpoint-every", "5x"], "'5x' is not a time"),
    (["vae", "--output", "model.h5"], "must end in .keras"),
    (["vae", "--seed", "-1"], "'-1' is not a whole number from 0 to 2,147,483,647"),
    (["vae", "--limit", "1"], "needs at least 3"),
    (["vae", "--kl-warmup", "1e300"], "'1e300' is not a number from 0 to 1,000,000,000"),
    (["vae", "--beta", "nan"], "'nan' is not a number from 0"),
    (["vae", "--latent-dim", "1000000000"], "'1000000000' is not a whole number from 1 to 65,536"),
    (
        ["vae", "--image-size", "100000"],
        "'100000' is not an image size; give e.g. 64, or 45x61 (height x width)",
    ),
    (["vae", "--image-size", "\u00b2"], "is not an image size"),
    (["vae", "--checkpoint-every", "\u00b2s"], "is not a time"),
    (["vae", "--checkpoint-every", "9" * 30 + "s"], "is not a time"),
    (["vae", "--epochs", "x\x1b[31m\n"], r"'x\x1b[31m\n' is not a whole number"),
    (["conv_ae", "--blocks", "-1"], "'-1' is not a whole number from 0 to 100"),
    (["sample", "text.keras", "--output", "grid.xyz"], "must end in .png"),
    (["sample", "text.keras", "--kind", "interpolations", "--count", "1"], "two images or more"),
    (["vae", "--run-dir", "text.keras/run", "--limit", "20"], "cannot write text.keras/run"),
    (["conv_ae", "--code-size", "40", "--limit", "20"], "give 1 to 32"),
    (["conv_ae", "--task", "denoise", "--corruption", "gaussian:-1", "--limit", "20"], "must be above 0"),
    (["conv_ae", "--task", "complete", "--corruption", "gaussian:1", "--limit", "20"], "is for missing pixels"),
    (["conv_ae", "--loss", "lpips", "--limit", "20"], "known are mse, mae, ssim, psnr"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_loses_nothing(script, tmp_path, arguments, message):
    (tmp_path / "text.keras").write_text("text")
    name, *flags = arguments
    if not {"--backend", "--resume"} & set(flags):
        flags += ["--backend", BACKEND]
    code, _, err = script(name, *flags)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert err.strip().isprintable()
    assert (tmp_path / "text.keras").read_text() == "text"


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@once("the endings of a script")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError"),
        (RecursionError("maximum recursion depth exceeded"), "maximum recursion depth"),
        (OverflowError("int too large"), "int too large"),
        (NotImplementedError("zip file version 6.4"), "zip file version 6.4"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory\nmore"), "can't allocate memory"),
        (ValueError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), "RESOURCE_EXHAUSTED"),
        (ResourceExhaustedError("OOM when allocating tensor with shape[9]"), "OOM when allocating"),
    ],
)
def test_what_is_too_large_ends_in_one_line(monkeypatch, capsys, error, reason):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["vae.py"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module("_flags").run(main)
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1)
    assert err.startswith("vae.py: error: this cannot be computed (")
    assert reason in err
    assert "make what the flags ask for smaller" in err


@once("the endings of a script")
def test_a_fault_of_ours_shows_where_it_is(monkeypatch):
    def main():
        raise KeyError("flags")

    with pytest.raises(KeyError):
        importlib.import_module("_flags").run(main)


def test_a_backend_that_is_not_installed_is_named(script, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "jax" else real(name, *rest))
    code, _, err = script("vae", "--backend", "jax")
    assert code == 2
    assert "the backend jax is not installed; installed are tensorflow, torch" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_training_after_the_step(number, code):
    before = signal.getsignal(number)
    with callbacks.StopOnSignal() as stop:
        stop.on_train_batch_begin(0)
        os.kill(os.getpid(), number)  # nothing is raised here, where a framework might swallow it
        # A second one ends the process, but the shell's SIGHUP follows the kernel's.
        assert signal.getsignal(number) is (signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
        with pytest.raises(KeyboardInterrupt) as stopped:
            stop.on_train_batch_begin(1)
    assert 128 + stopped.value.number == code
    assert signal.getsignal(number) is before


@once("signals")
def test_nohup_keeps_a_training_alive():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with callbacks.StopOnSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.on_train_batch_begin(1)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_saves_and_resume_continues(script, tmp_path):
    run = tmp_path / "run"
    flags = ["--backend", BACKEND, "--limit", "80", "--batch-size", "8", "--epochs", "500", "--run-dir", str(run)]
    flags += ["--width", "4", "--grid-every", "500"]
    process = subprocess.Popen(
        [sys.executable, str(TRAIN / "vae.py"), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TQDM_DISABLE": "1"},
    )
    deadline = time.time() + 240
    while not (run / "history.csv").exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.1)
    code, _, err = script("vae", "--resume", run)
    assert (code, err) == (2, f"vae.py: error: {run} is in use by process {process.pid}; wait for it, or stop it\n")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"resume with: python train/vae.py --resume {run}\n" in err
    assert "Traceback" not in err
    finished = len((run / "history.csv").read_text().splitlines()) - 1
    assert finished >= 1
    flags = json.loads((run / "config.json").read_text())["flags"]
    files.write_json(run / "config.json", {"flags": {**flags, "epochs": finished + 1}})
    code, _, err = script("vae", "--resume", run)
    assert code == 0, err
    assert len((run / "history.csv").read_text().splitlines()) == finished + 2
