"""A saved file and the data that it is to be used on."""

import sys


class File:
    """A loaded model with what its file says of it.

    Attributes:
        model: a `VAE`, or a convolutional autoencoder.
        metadata: as `read_metadata` gives it.
        image_shape: (height, width, channels).
        class_names: of the labels that the model takes; empty if it takes none.
        is_vae: which of the two.
    """

    def __init__(self, path, *, trust: bool = False):
        import keras_ae

        self.path = path
        if trust:
            print(f"{path} is trusted: code in it may run", file=sys.stderr)
        self.model = keras_ae.load_model(path, trust=trust)
        self.metadata = keras_ae.read_metadata(path)
        self.is_vae = isinstance(self.model, keras_ae.VAE)
        if self.is_vae:
            self.image_shape = self.model.image_shape
            self.class_names = self.model.class_names if self.model.conditioning != "none" else []
        else:
            inputs = {tensor.name: tensor for tensor in self.model.inputs}
            self.image_shape = tuple(inputs["image"].shape[1:])
            self.class_names = self.metadata.get("class_names", []) if "label" in inputs else []

    def task(self, corruption: str | None):
        """The task of a convolutional autoencoder, with the corruption it was trained on or another."""
        from keras_ae import InputError, get_task

        if "task" not in self.metadata:
            raise InputError(f"{self.path} does not say what it was trained for; train it with train/conv_ae.py")
        corruption = corruption or self.metadata["corruption"]
        return get_task(self.metadata["task"], corruption, label=bool(self.class_names))

    def load_dataset(self, args):
        """The data set named on the command line, or the one the model was trained on, in the model's image size."""
        from keras_ae import InputError, data

        name = args.dataset or self.metadata.get("dataset")
        if not name:
            raise InputError("the file does not say what it was trained on; name a data set with --dataset")
        same = name == self.metadata.get("dataset")
        size = self.metadata["flags"]["image_size"] if same else self.image_shape[:2]
        dataset = data.load(
            name,
            image_size=tuple(size) if size else None,
            data_dir=args.data_dir,
            cache_dir=args.cache_dir,
            limit=args.limit,
        )
        if dataset.image_shape != self.image_shape:
            raise InputError(f"the images of {name} are {dataset.image_shape}; the model takes {self.image_shape}")
        if self.class_names and dataset.class_names != self.class_names:
            raise InputError(
                f"the model knows the classes {', '.join(self.class_names)}; "
                f"{name} has {', '.join(dataset.class_names) or 'none'}"
            )
        return self._with_mask_levels(dataset)

    def split(self, dataset, name: str):
        """The split of that name, which must have images."""
        from keras_ae import InputError

        if not len(dataset.splits[name]):
            raise InputError(f"{dataset.name} has too few images for a {name} split; its images are in --split test")
        return dataset.splits[name]

    def _with_mask_levels(self, dataset):
        """The classes of a segmentation are the greys that it was trained on."""
        from dataclasses import replace

        from keras_ae import InputError

        levels = tuple(self.metadata.get("mask_levels", ()))
        if self.metadata.get("task") != "segment" or not dataset.mask_classes or not levels:
            return dataset
        if unknown := set(dataset.train.mask_levels) - set(levels):
            raise InputError(f"the masks of {dataset.name} have the greys {sorted(unknown)}; the model knows {levels}")
        splits = {name: replace(split, mask_levels=levels) for name, split in dataset.splits.items()}
        return replace(dataset, **splits)
