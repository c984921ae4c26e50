"""Flipped bits and cut ends, in every file that the program reads: refused in one line, or read as it was written."""

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_ae
from keras_ae import InputError, callbacks, data, runs, tuning
from keras_ae.data.decoding import fit_image
from tests.helpers import once, small_vae, train_vae, variables

REFUSED = "refused"


def model_file(folder, dataset):
    path = keras_ae.save_model(small_vae(), folder / "model.keras", {"dataset": "shapes"})

    def read():
        model = keras_ae.load_model(path)
        return [model.get_weights(), model.get_config(), keras_ae.read_metadata(path)]

    return path, read


def checkpoint(folder, dataset):
    train_vae(dataset, folder / "run")
    vae = small_vae(kl_warmup_steps=5)
    vae.compile(keras.optimizers.Adam(1e-2))

    def read():
        state = callbacks.restore(vae, folder / "run")
        return [variables(vae), state.history, state.batch]

    return folder / "run" / "checkpoint.npz", read


def config(folder, dataset):
    runs.begin(folder / "run", {"epochs": 20, "learning_rate": 3e-3, "dataset": "shapes", "flip": False})
    return folder / "run" / "config.json", lambda: [runs.read_flags(folder / "run")]


def cache(folder, dataset):
    """Never refused: an entry that is not as it was written is built anew."""
    entry = folder / "entry"

    def read():
        shapes = data.load("shapes", cache_dir=entry, limit=12)
        return [shapes.class_names, *(np.array(array) for array in shapes.train.arrays.values())]

    read()
    return _one_of(sorted(entry.glob("*/*"))), read


def search(folder, dataset):
    def build(epochs, latent_dim):
        vae = small_vae(latent_dim=latent_dim, conditioning="none")
        vae.compile("adam")
        return vae

    def read():
        found = tuning.Search(build, {"latent_dim": [2, 3]}, dataset, folder, epochs=1, fit={"batch_size": 32})
        found.local_oracle.tell = lambda line: None
        found.search()
        return [[trial.get_state() for trial in found.trials()], found.best().score]

    read()
    return _one_of([folder / "trials/oracle.json", *folder.glob("trials/trial_*/trial.json")]), read


def png(folder, dataset):
    """Refused: left out of the data set, with its name."""
    return _image(folder, "image.png")


def jpeg(folder, dataset):
    """Has no checksum: whatever decodes is an image, and it is the one that Pillow sees in the file."""
    path, read = _image(folder, "image.jpg")

    def as_pillow_reads_it():
        (image,) = read()[0]
        with Image.open(path) as file:
            pixels = np.asarray(fit_image(file.convert("RGB" if image.shape[-1] == 3 else "L"), image.shape[:2]))
        return [np.allclose(image, pixels.reshape(image.shape) / 255, atol=1e-6)]

    return path, as_pillow_reads_it


def _image(folder, name):
    (folder / "images").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (24, 20, 3), "uint8")
    Image.fromarray(pixels).save(folder / "images" / name)

    def read():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is left out
            images = data.load(str(folder / "images"), cache_dir=folder / "cache", image_size=(24, 20))
        return [images.test.batch(slice(None))["image"]]

    return folder / "images" / name, read


def _one_of(files: list[Path]):
    """Damages one of the files, after all of them are as they were."""
    whole = {file: file.read_bytes() for file in files}

    def damage_one(random):
        for file, content in whole.items():
            file.write_bytes(content)
        file = files[random.integers(len(files))]
        file.write_bytes(_damaged(whole[file], random))

    return damage_one


def _damaged(content: bytes, random) -> bytes:
    if random.random() < 1 / 3:
        return content[: random.integers(len(content))]
    content = bytearray(content)
    for place in random.integers(len(content), size=random.integers(1, 4)):
        content[place] ^= 1 << random.integers(8)
    return bytes(content)


def _equal(one, other) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


def damage(make, folder, dataset, cases, random) -> dict[str, int]:
    """How many damaged files were refused and how many read as they had been; anything else fails."""
    damaged, read = make(folder, dataset)
    expected = read()
    whole = None if callable(damaged) else damaged.read_bytes()
    counts = {REFUSED: 0, "read as written": 0}
    for _ in range(cases):
        if whole is None:
            damaged(random)
        else:
            damaged.write_bytes(_damaged(whole, random))
        try:
            found = read()
        except InputError:
            counts[REFUSED] += 1
        else:
            assert _equal(found, expected)
            counts["read as written"] += 1
    return counts


# The share of the damaged files that is refused, at least and at most.
FILES = {
    model_file: (0.95, 1),
    checkpoint: (0.95, 1),
    config: (0.95, 1),
    cache: (0, 0),
    search: (0.95, 1),
    png: (0.95, 1),
    jpeg: (0.2, 0.8),
}


def check_share(make, counts) -> None:
    least, most = FILES[make]
    assert least <= counts[REFUSED] / sum(counts.values()) <= most


@once("what reads the files is the same everywhere")
@pytest.mark.parametrize("make", FILES)
def test_damaged_files(tmp_path, dataset, random, make):
    check_share(make, damage(make, tmp_path, dataset, 25, random))


@pytest.mark.slow
@once("as above")
@pytest.mark.parametrize("make", FILES)
def test_many_damaged_files(tmp_path, dataset, random, make, capsys):
    counts = damage(make, tmp_path, dataset, 1500, random)
    check_share(make, counts)
    with capsys.disabled():
        print(f"\n{make.__name__}: {counts}")
