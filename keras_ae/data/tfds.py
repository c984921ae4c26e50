"""Image-classification data sets of tensorflow-datasets, read once into the cache."""

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
from PIL import Image

from keras_ae.data.cache import Writer, expanded
from keras_ae.data.decoding import fit_image
from keras_ae.data.folders import TEST_FRACTION
from keras_ae.errors import InputError, printable

# For prepared copies that came without their files of label names.
CLASS_NAMES = {
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    "stl10": ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"],
}


@dataclass(frozen=True)
class TensorflowDataset:
    """The source of a set prepared by TFDS; `key` needs no TensorFlow where the set is prepared.

    Splits: `train` and `test` as TFDS has them; without a `test`, its `validation`; without both, a
    tenth of train.
    """

    name: str
    data_dir: Path
    image_size: tuple[int, int] | None = None
    limit: int | None = None

    def key(self) -> dict:
        info = (self._folder() / "dataset_info.json").read_bytes()
        # The hash covers version and shard lengths: a subset is another data set than the whole.
        return {
            "name": self.name,
            "info": hashlib.sha256(info).hexdigest(),
            "image_size": self.image_size,
            "limit": self.limit,
        }

    def write(self, writer: Writer) -> list[str]:
        tfds = _tfds()

        builder = tfds.builder_from_directory(self._folder())
        features = builder.info.features
        if "image" not in features:
            raise InputError(
                f"{self.name} has no images (its features are {', '.join(features)}); "
                "choose an image-classification data set"
            )
        size = self.image_size or features["image"].shape[:2]
        if None in size:
            raise InputError(
                f"the images of {self.name} have different sizes; choose one, e.g. --image-size 64 or 45x61"
            )
        label = dict(features).get("label")
        for split, part in _splits(builder.info.splits).items():
            dataset = builder.as_dataset(split=part, shuffle_files=False)
            rows = tfds.as_numpy(dataset if self.limit is None else dataset.take(self.limit))
            for row in rows:
                image, number = _resized(row["image"], size), row["label"] if label else 0
                writer.append(split, images=image[None], labels=np.array([number], "int32"))
        if label is None:
            return []
        numbers = [str(number) for number in range(label.num_classes)]
        names = [printable(name) for name in label.names]
        return CLASS_NAMES.get(self.name, names) if names == numbers else names

    def prepared(self) -> bool:
        return self._folder() is not None

    def prepare(self) -> None:
        """Downloads and prepares the set with TFDS, whose own bar shows the progress."""
        tfds = _tfds()

        where = f"{self.name} is not prepared in {self.data_dir}"
        ways_out = "name the folder of a prepared copy with --data-dir, or use --dataset shapes"
        try:
            builder = tfds.builder(self.name, data_dir=self.data_dir)
        except (tfds.core.DatasetNotFoundError, ValueError) as error:
            raise InputError(
                f"unknown data set '{self.name}'; known are shapes, a folder of images, cifar10, stl10, mnist, "
                "fashion_mnist and every image-classification set of tensorflow-datasets"
            ) from error
        size = sum(info.size or 0 for info in builder.url_infos.values())
        print(printable(f"{where}: downloading {size / 1e6:,.0f} MB"), flush=True)
        try:
            # TFDS alone would try for minutes without a network; what a proxy reaches cannot be seen from here.
            for url in [] if getproxies() else builder.url_infos:
                socket.create_connection((urlsplit(url).hostname, 443), timeout=10).close()
            builder.download_and_prepare()
        except Exception as error:  # what a downloader meets is open-ended: no network, no space, a moved file
            reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
            raise InputError(f"{where} and could not be downloaded ({reason}); {ways_out}") from error

    def _folder(self) -> Path | None:
        """The newest prepared version, found by looking."""
        infos = (self.data_dir / self.name.split(":")[0]).glob("**/dataset_info.json")
        return max((info.parent for info in infos), key=lambda folder: folder.name, default=None)


def _tfds():
    """The library, which is imported late: with it comes TensorFlow."""
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        raise InputError(
            'this data set needs tensorflow-datasets, which is not installed; pip install -e ".[data]"'
        ) from error
    return tensorflow_datasets


def default_data_dir() -> Path:
    """Where TFDS looks: `TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return expanded(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets", "set TFDS_DATA_DIR, or give --data-dir")


def _splits(names) -> dict[str, str]:
    if "test" in names:
        return {"train": "train", "test": "test"}
    if "validation" in names:
        return {"train": "train", "test": "validation"}
    percent = round(100 * TEST_FRACTION)
    return {"train": f"train[{percent}%:]", "test": f"train[:{percent}%]"}


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == tuple(size):
        return image
    mode = image[..., 0] if image.shape[-1] == 1 else image
    return np.asarray(fit_image(Image.fromarray(mode), size)).reshape(*size, -1)
