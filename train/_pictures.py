"""What `sample.py` makes of a model: rows of images with their names, and files of single ones."""

import math
import os
from pathlib import Path

import numpy as np

from keras_ae import InputError, get_task, images, restore_images

COUNT = 64
COLUMNS = 8
COMPLETIONS = 4
COMPLETED = 8


def samples(args, file):
    """A row per class, or rows of `COLUMNS`."""
    model, count, ids = file.model, args.count or COUNT, chosen(args, file.model)
    if ids is None:
        return in_rows(model.sample(count, temperature=args.temperature, seed=args.seed)), None, None
    columns = math.ceil(count / len(ids))
    found = model.sample(columns * len(ids), np.repeat(ids, columns), args.temperature, args.seed)
    return found.reshape(len(ids), columns, *model.image_shape), [model.class_names[label] for label in ids], None


def reconstructions(args, file):
    """A row per class of pairs, original and decoded, or bands of both."""
    model, ids = file.model, chosen(args, file.model)
    if ids is None:
        batch, _ = start(args, file, COUNT)
        return bands({"original": batch["image"], "decoded": model.reconstruct(batch["image"])})
    split = file.load_dataset(args).splits[args.split]
    labels = split.arrays["labels"][split.indices]
    pairs = math.ceil((args.count or COUNT) / len(ids))
    places = [np.flatnonzero(labels == label)[:pairs] for label in ids]
    batch = split.batch(np.concatenate(places))
    if not len(batch["image"]):
        raise InputError(f"the {args.split} split of {len(split)} images has none of these classes")
    found = np.stack([batch["image"], model.reconstruct(batch["image"], batch["label"])], axis=1)
    rows = np.full((len(ids), pairs, *found.shape[1:]), np.nan, "float32")
    for row, part in zip(rows, np.split(found, np.cumsum([len(part) for part in places])[:-1]), strict=True):
        row[: len(part)] = part
    return rows.reshape(len(ids), 2 * pairs, *model.image_shape), [model.class_names[label] for label in ids], None


def interpolations(args, file):
    batch, labels = start(args, file, 2 * COLUMNS)
    found, pairs = batch["image"], min(COLUMNS, len(batch["image"]) // 2)
    labels = None if labels is None else labels[:pairs]
    return file.model.interpolate(found[:pairs], found[pairs : 2 * pairs], COLUMNS, labels), None, None


def traversals(args, file):
    batch, labels = start(args, file, COUNT)
    latents, rows = file.model.traverse(batch["image"], labels=labels)
    return rows, [f"z{latent}" for latent in latents], None


def completions(args, file):
    """A row for each image: original, masked, several completions."""
    task = get_task("complete", args.corruption)
    dataset = file.load_dataset(args)
    task.check(dataset)
    split = file.split(dataset, args.split)
    places = slice(0, args.count or COMPLETED)
    batch = split.batch(places, masks=task.masks)
    inputs, target, _ = task.examples(batch, split.indices[places])
    labels = batch["label"] if file.class_names else None
    found = file.model.complete(target, inputs["mask"], COMPLETIONS, labels=labels, noise=False, seed=args.seed)
    masked = np.where(inputs["mask"] > 0, target, np.nan)
    rows = np.concatenate([target[:, None], masked[:, None], found], axis=1)
    return rows, [file.class_names[label] for label in labels] if file.class_names else None, None


def restored(args, file):
    """What a convolutional autoencoder makes of images, beside what it is given."""
    task = file.task(args.corruption)
    dataset = file.load_dataset(args)
    masks = task.masks and dataset.mask_classes > 0
    if not (task.name == "segment" or task.corruption == task.word == "none"):  # which need no truth here
        task.check(dataset)
    splits = list(dataset.splits.values()) if args.split == "all" else [file.split(dataset, args.split)]
    left = args.count or (sum(map(len, splits)) if args.separate else COUNT)
    parts, files = [], []
    for split in splits:
        places = slice(0, left)
        left -= len(split.indices[places])
        if not len(split.indices[places]):
            continue
        batch = split.batch(places, masks=masks)
        if task.masks and not masks:
            batch["segmentation"] = None
        inputs, target, *_ = task.examples(batch, split.indices[places])
        given = {"mask": inputs.get("mask"), "labels": inputs.get("label")}
        output = restore_images(file.model, inputs["image"], **given, mirrored=args.mirrored)
        rows = task.rows(inputs, output if target is None else target, output)
        if target is None:
            del rows["mask"]
        parts.append(rows)
        names = split.arrays.get("names")
        files += [None] * len(output) if names is None else [os.fsdecode(name) for name in names[split.indices[places]]]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if args.separate:
        last = list(rows)[-1]
        return rows[last][:, None], [last] * len(files), files
    return bands(rows)


def chosen(args, model) -> np.ndarray | None:
    """The ids of the classes to show, by `--labels`; `None` for a model that takes none."""
    if model.conditioning == "none":
        if args.labels:
            raise InputError("this model is not conditional: leave out --labels")
        return None
    labels = args.labels.split(",") if args.labels else model.class_names
    labels = [int(label) if label not in model.class_names and label.isdigit() else label for label in labels]
    return model.label_ids(labels, len(labels))


def start(args, file, count: int):
    """The batch of images to start from, and the labels that the model takes."""
    split = file.load_dataset(args).splits[args.split]
    batch = split.batch(slice(0, args.count or count))
    return batch, batch["label"] if file.class_names else None


def bands(rows: dict[str, np.ndarray]):
    """Named rows of any length -> bands of `COLUMNS`."""
    channels = max(part.shape[-1] for part in rows.values())
    parts = [in_rows(np.broadcast_to(part, (*part.shape[:3], channels))) for part in rows.values()]
    return np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:]), list(rows) * len(parts[0]), None


def in_rows(found):
    """(n, ...) -> (rows, COLUMNS, ...), filled up with NaN, which a grid leaves white."""
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    empty = np.full((rows * columns - len(found), *found.shape[1:]), np.nan, "float32")
    return np.concatenate([found, empty]).reshape(rows, columns, *found.shape[1:])


def save_each(rows, names, files, folder: Path) -> None:
    """Single PNGs; under the names of the files that they were made from, where there are any."""
    folder.mkdir(parents=True)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            if np.isnan(image).all():  # a place of the grid that is not filled
                continue
            name = f"{y:03d}_{names[y] if names else 'image'}_{x:03d}.png"
            if files and files[y]:
                name = Path(files[y]).with_suffix(".png")
                if (folder / name).exists():  # a.jpg and a.png
                    name = Path(f"{files[y]}.png")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            images.to_picture(image).save(folder / name)


KINDS = {
    "samples": samples,
    "reconstructions": reconstructions,
    "interpolations": interpolations,
    "traversals": traversals,
    "completions": completions,
    "restored": restored,
}
