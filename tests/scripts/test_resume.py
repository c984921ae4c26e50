"""--resume: the flags are the run's, the places are the user's, and a stranger's folder chooses nothing."""

import json
import shlex
import shutil
import zlib
from pathlib import Path

import keras
import pytest
from PIL import Image

import keras_ae
from keras_ae import files, runs
from tests.helpers import once, small_vae

BACKEND = keras.backend.backend()
pytestmark = once("flags and files")
SMALL = ["--backend", BACKEND, "--limit", "12", "--image-size", "8x12", "--width", "4", "--epochs", "1"]


def begun(script, tmp_path, *flags):
    """The folder of a run that was begun and stopped before its first step, and its flags."""
    run = tmp_path / "run; x"
    main = __import__("vae").parser().parse_args([*SMALL, *map(str, flags)])
    runs.begin(run, vars(main))
    return run, runs.read_flags(run)


def rewrite(run, flags):
    files.write_json(run / "config.json", {"flags": flags})


def images(folder, count=12):
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (12, 8), (20 * number, 99, 0)).save(folder / f"{number}.png")
    return folder


def one_line(result):
    code, _, err = result
    assert (code, err.count("\n")) == (2, 1), err
    return err.removeprefix("vae.py: error: ").strip()


def test_a_run_on_shapes_resumes_with_its_flags_alone(script, tmp_path):
    run, _ = begun(script, tmp_path, "--checkpoint-every", "30s", "--flip", "--beta", "0.5")
    code, out, err = script("vae", "--resume", run)
    assert code == 0, err
    assert "test images of 8x12x3" in out
    flags = keras_ae.read_metadata(run / "model.keras")["flags"]
    expected = {"checkpoint_every": {"seconds": 30}, "flip": True, "beta": 0.5, "image_size": [8, 12], "limit": 12}
    assert expected.items() <= flags.items()
    assert f"next: python train/sample.py '{run}/model.keras' --backend {BACKEND}\n" in out


@pytest.mark.parametrize("levels", [[[2, 3, 1], [4, 6, 2]], [[4], [3], [2]]])
def test_a_hierarchy_resumes_with_its_levels(script, tmp_path, levels):
    text = ",".join("x".join(map(str, level)) for level in levels)
    run, _ = begun(script, tmp_path, "--network", "hierarchical", "--levels", text)
    code, _, err = script("vae", "--resume", run)
    assert code == 0, err
    assert keras_ae.read_metadata(run / "model.keras")["flags"]["levels"] == levels
    assert keras_ae.load_model(run / "model.keras").shapes == list(map(tuple, levels))


def test_a_run_of_an_earlier_version_resumes(script, tmp_path):
    run, flags = begun(script, tmp_path)
    content = {"flags": flags, "crc32": zlib.crc32(json.dumps(flags, sort_keys=True).encode())}
    (run / "config.json").write_text(json.dumps(content, indent=1))
    assert script("vae", "--resume", run)[0] == 0


UNTRUE = [
    ("batch_size", 0, "argument --batch-size: '0' is not a whole number from 1 to 1,000,000,000"),
    ("epochs", "x", "argument --epochs: 'x' is not a whole number"),
    ("epochs", 10**12, "argument --epochs: '1000000000000' is not a whole number"),
    ("seed", True, "argument --seed: 'True' is not a whole number"),
    ("checkpoint_every", {"x": 1}, "argument --checkpoint-every: '{'x': 1}' is not a time"),
    ("checkpoint_every", {"steps": [1]}, "argument --checkpoint-every: '[1]' is not a time"),
    ("image_size", [10**5, 10**5], "argument --image-size: '100000x100000' is not an image size"),
    ("image_size", [8], "argument --image-size: '[8]' is not an image size"),
    ("flip", 3, "argument --flip: ignored explicit argument '3'"),
    ("backend", "os", "unknown backend 'os'"),
    ("backend", {}, "unknown backend '{}'"),
    ("precision", "int8", "argument --precision: invalid choice: 'int8'"),
    ("learning_rate", float("nan"), "argument --learning-rate: 'nan' is not a number"),
    ("help", True, "unknown flag 'help'"),
    ("command", "rm", "unknown flag 'command'"),
    ("\x1b[31m", 1, r"unknown flag '\x1b[31m'"),
]


@pytest.mark.parametrize(("name", "value", "message"), UNTRUE)
def test_a_flag_that_no_run_keeps_is_one_line(script, tmp_path, name, value, message):
    run, flags = begun(script, tmp_path)
    rewrite(run, flags | {name: value})
    said = one_line(script("vae", "--resume", run))
    assert said.startswith(message if name == "backend" else f"{run}/config.json: {message}")
    assert {path.name for path in run.iterdir()} == {"config.json"}


@pytest.mark.parametrize("flags", [["--epochs"], 7, None, "x"])
def test_flags_that_are_no_flags_are_one_line(script, tmp_path, flags):
    run, _ = begun(script, tmp_path)
    rewrite(run, flags)
    assert f"{run}/config.json is damaged or was changed" in one_line(script("vae", "--resume", run))


def test_a_folder_chooses_no_place(script, tmp_path):
    """Neither what is read nor where something is written."""
    run, flags = begun(script, tmp_path)
    private = images(tmp_path / "private")
    places = {"cache_dir": tmp_path / "cache", "data_dir": tmp_path / "data", "run_dir": tmp_path / "other"}
    rewrite(run, flags | runs.plain(places))
    shutil.copytree(run, tmp_path / "run 2")
    assert script("vae", "--resume", run)[0] == 0
    assert not any(place.exists() for place in places.values())

    run = tmp_path / "run 2"
    rewrite(run, flags | {"dataset": str(private), "output": str(tmp_path / "elsewhere/b.keras")})
    said = one_line(script("vae", "--resume", run))
    asked = f"--dataset {private} --output {tmp_path}/elsewhere/b.keras"
    assert said == f"{run} was begun with {asked}; resume with: python train/vae.py --resume '{run}' {asked}"
    assert {path.name for path in run.iterdir()} == {"config.json"}
    rewrite(run, flags | {"dataset": "cifar10"})
    said = one_line(script("vae", "--resume", run))
    assert said.endswith(f"with --dataset cifar10; resume with: python train/vae.py --resume '{run}' --dataset cifar10")


def test_a_run_on_own_images_resumes_with_the_command_it_asks_for(script, tmp_path):
    """The folder may have moved."""
    own = images(tmp_path / "own")
    run, _ = begun(script, tmp_path, "--dataset", own, "--output", tmp_path / "a b.keras")
    own.rename(tmp_path / "moved")
    asked = one_line(script("vae", "--resume", run, "--dataset", "moved")).split("resume with: ")[1]
    code, _, err = script("vae", *shlex.split(asked)[2:])
    assert code == 0, err
    assert (tmp_path / "a b.keras").exists()
    assert not (run / "model.keras").exists()
    said = one_line(script("vae", *shlex.split(asked)[2:]))
    assert said.startswith(f"{run} is finished: {tmp_path}/a b.keras exists already")


@pytest.mark.parametrize(("begun_on", "given"), [("shapes", "mnist"), ("cifar10", "mnist"), ("cifar10", "own")])
def test_another_data_set_is_refused(script, tmp_path, begun_on, given):
    images(tmp_path / "own")
    run, _ = begun(script, tmp_path, "--dataset", begun_on)
    said = one_line(script("vae", "--resume", run, "--dataset", given))
    assert said.startswith(f"{run} was begun with --dataset {begun_on}, now it is {given}; give the same data set")


def test_what_a_run_starts_from_is_asked_for_until_there_is_a_checkpoint(script, tmp_path):
    keras_ae.save_model(small_vae((8, 12, 3)), "start.keras")
    run, _ = begun(script, tmp_path, "--start-from", "start.keras")
    said = one_line(script("vae", "--resume", run))
    assert said.endswith(f"--start-from {tmp_path}/start.keras")
    (run / "checkpoint.npz").write_text("damaged")
    assert "checkpoint.npz is damaged" in one_line(script("vae", "--resume", run))
    (run / "checkpoint.npz").unlink()
    run2, _ = begun(script, tmp_path / "more")
    assert "was not begun with --start-from" in one_line(script("vae", "--resume", run2, "--start-from", "start.keras"))


@pytest.mark.parametrize("name", [".lock", ".process", "best.keras", "config.json", "pictures/deep"])
def test_a_folder_with_links_is_refused(script, tmp_path, name):
    run, _ = begun(script, tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes((run / "config.json").read_bytes())
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    before = victim.read_bytes()
    assert f"{name} is a symbolic link, which no run and no search makes" in one_line(script("vae", "--resume", run))
    assert victim.read_bytes() == before


def test_a_large_file_is_not_read(script, tmp_path):
    run, _ = begun(script, tmp_path)
    with open(run / "config.json", "r+b") as file:
        file.truncate(2**40)
    assert f"{run}/config.json is damaged or was changed" in one_line(script("vae", "--resume", run))


def test_a_run_that_exists_is_resumed_by_a_quoted_command(script, tmp_path):
    run, _ = begun(script, tmp_path)
    said = one_line(script("vae", *SMALL, "--run-dir", run))
    assert said.endswith(f"or resume that run with --resume '{run}'")
    assert Path(run).exists()
