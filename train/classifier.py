"""Trains a small classifier, whose features tell how alike two images are: for `train/vae.py --features`.

python train/classifier.py --dataset cifar10 --flip --epochs 10
"""

import _flags
import _run
import _types


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_backend(parser, several=True)
    _flags.add_data(parser, "shapes", training=True)
    add = parser.add_argument_group("model").add_argument
    add("--width", type=_types.features, default=32, help="features of the first level")
    _flags.add_training(parser, "classifier")
    return parser


def main() -> None:
    args = _flags.training_arguments(parser())
    from keras_ae import InputError, backends, data, models, networks, optimizers, training

    dataset = _flags.load(args)
    if not dataset.class_names:
        raise InputError(f"{dataset.name} has no classes; a folder has some where each is a subfolder")
    steps = data.steps_per_epoch(dataset.train, args.batch_size)
    args.precision = training.prepare(args.precision, args.seed)
    with backends.replicated():
        network = networks.build_classifier(dataset.image_shape, len(dataset.class_names), width=args.width)
        fit = models.ClassifierFit(network)
        fit.compile(optimizers.recipe(steps, args.epochs, args.learning_rate, args.clip_norm))
    _run.train(args, fit, dataset, f"classifier of {len(dataset.class_names)} classes", lambda *_: {})


if __name__ == "__main__":
    _flags.run(main)
