"""Generators alone: random codes of an autoencoder next to samples of a VAE, and how far each is from real images.

python benchmarks/quality/generator.py --dataset cifar10 --autoencoder runs/codes/4x4x8/model.keras \\
    --vae saved_models/vae_cifar10.keras --output generator.png

The codes of the autoencoder are drawn from a Gaussian and from a mixture of ten Gaussians, fitted to those of the
training images. The time grows with the square of the code's values. The distance is Fréchet's (Dowson & Landau 1982)
between Gaussians fitted to the features of a classifier that is trained here on the same training images: it is
comparable within one run of this script, and is not the FID, whose features are those of another network. Every row
has as many images as are held out (validation and test).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from _setup import flags, load, parser, prepare

COMPONENTS = 10
FEATURES = 128
SHOWN = 12


def classifier(dataset, epochs: int):
    """A convolutional classifier; its layer "features" (batch, 128) is what images are compared by."""
    import keras
    from keras import layers

    x = image = keras.Input(dataset.image_shape, name="image")
    for filters in (32, 64, 128):
        for strides in (1, 2):
            x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    features = layers.Dense(FEATURES, activation="relu", name="features")(layers.Dropout(0.2)(x))
    model = keras.Model(image, layers.Dense(len(dataset.class_names))(features))
    images, labels = everything(dataset.train)
    steps = epochs * -(-len(images) // 128)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)), loss, metrics=["accuracy"]
    )
    model.fit(images, labels, batch_size=128, epochs=epochs, verbose=0)
    accuracy = model.evaluate(*everything(dataset.test), verbose=0, return_dict=True)["accuracy"]
    return keras.Model(image, features), accuracy


def everything(split) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a split."""
    batch = split.batch(slice(None))
    return batch["image"], batch["label"]


def random_codes(codes: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Codes (count, d) from distributions fitted to `codes` (n, d)."""
    from sklearn.mixture import GaussianMixture

    codes = codes.astype("float64")
    drawn = {}
    for name, components in (("one Gaussian", 1), (f"{COMPONENTS} Gaussians", COMPONENTS)):
        mixture = GaussianMixture(components, max_iter=50, random_state=0).fit(codes)
        sampled, _ = mixture.sample(count)
        drawn[name] = np.random.default_rng(0).permutation(sampled).astype("float32")
    return drawn


def generated(autoencoder, vae, dataset):
    """Names and images in [0, 1], a row of the table each."""
    import keras_ae

    held_out = [everything(split) for split in (dataset.validation, dataset.test)]
    images, labels = (np.concatenate(parts) for parts in zip(*held_out, strict=True))
    yield "held-out images", images
    encoded = autoencoder.get_layer("encoder").predict(everything(dataset.train)[0], batch_size=128, verbose=0)
    decode = autoencoder.get_layer("decoder").predict
    for name, codes in random_codes(encoded.reshape(len(encoded), -1), len(images)).items():
        decoded = decode(codes.reshape(-1, *encoded.shape[1:]), batch_size=128, verbose=0)
        yield f"autoencoder, {name}", np.clip(decoded, 0, 1)
    yield "autoencoder, reconstructions", keras_ae.restore_images(autoencoder, images)
    labels = labels if vae.conditioning != "none" else None
    yield "VAE, samples", vae.sample(len(images), labels=labels, seed=0)
    yield "VAE, reconstructions", vae.reconstruct(images, labels=labels)


def main() -> None:
    parse = parser(__doc__, "cifar10")
    parse.usage = "%(prog)s --autoencoder FILE --vae FILE [flags]"
    parse.add_argument("--autoencoder", type=Path, required=True, metavar="FILE", help="without labels")
    parse.add_argument("--vae", type=Path, required=True, metavar="FILE", help="of the same data set")
    parse.add_argument("--epochs", type=flags.positive, default=8, help="of the classifier")
    parse.add_argument("--output", type=Path, metavar="FILE", help="a picture")
    args = parse.parse_args()
    prepare(parse, args.backend)
    import keras

    from keras_ae import InputError, load_model, pictures
    from keras_ae.evaluation.distances import frechet_distance

    dataset = load(args.dataset, args, limit=args.limit)
    if not dataset.class_names:
        raise InputError(f"{dataset.name} has no classes; take a data set with labels")
    autoencoder, vae = load_model(args.autoencoder), load_model(args.vae)
    keras.utils.set_random_seed(0)
    extractor, accuracy = classifier(dataset, args.epochs)

    def features(images):
        return extractor.predict(images, batch_size=128, verbose=0).astype("float64")

    reference = features(everything(dataset.train)[0])
    count = len(dataset.validation) + len(dataset.test)
    print(f"classifier: {accuracy:.1%} of the test images right; {count:,} images a row\n")
    print("| images | Fréchet distance to the training images |\n| --- | --- |")
    shown = {}
    for name, row in generated(autoencoder, vae, dataset):
        shown[name] = row[:SHOWN]
        print(f"| {name} | {frechet_distance(features(row), reference):.3g} |", flush=True)
    if args.output:
        pictures.grid(np.stack(list(shown.values())), list(shown)).save(args.output)


if __name__ == "__main__":
    flags.run(main)
