"""Trains a convolutional autoencoder to reconstruct, denoise, complete or segment images.

python train/conv_ae.py --dataset cifar10 --task denoise --corruption gaussian:25/255 --skip-connections
python train/conv_ae.py --dataset photos --image-size 64 --code-size 4 --code-channels 32
"""

import _flags
import _run
import _types


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_backend(parser, several=True)
    add = parser.add_argument_group("task").add_argument
    add("--task", default="reconstruct", help="reconstruct, denoise, complete or segment")
    _flags.add_corruption(add, "of the images that come in")
    add("--loss", help="mse, mae, ssim or psnr (default: mse; segment: cross-entropy)")
    _flags.add_data(parser, "shapes", training=True)
    add = parser.add_argument_group("model").add_argument
    add("--code-size", type=_types.features, default=2, help="height and width of the code")
    add("--code-channels", type=_types.features, default=128, help="features at each place of the code")
    add("--skip-connections", action="store_true", help="ways around the code at every level (U-Net)")
    add("--width", type=_types.features, default=32, help="a quarter of the features of the networks' last level")
    add("--blocks", type=_types.blocks, default=0, help="residual blocks of two convolutions at each level")
    _flags.add_conditioning(add, "none")
    _flags.add_training(parser, "conv_ae")
    return parser


def main() -> None:
    args = _flags.training_arguments(parser())
    from keras_ae import backends, callbacks, conv_autoencoder, data, get_task, optimizers, training

    task = get_task(args.task, args.corruption, label=args.conditioning != "none")
    dataset = _flags.load(args)
    task.check(dataset)
    args.precision = training.prepare(args.precision, args.seed)
    with backends.replicated():
        model = conv_autoencoder(
            dataset.image_shape,
            args.code_size,
            args.code_channels,
            num_classes=len(dataset.class_names),
            conditioning=args.conditioning,
            skip_connections=args.skip_connections,
            task=args.task,
            mask_classes=dataset.mask_classes or 2,
            width=args.width,
            blocks=args.blocks,
        )
        steps = data.steps_per_epoch(dataset.train, args.batch_size)
        recipe = optimizers.recipe(steps, args.epochs, args.learning_rate, args.clip_norm)
        model.compile(recipe, **task.measures(model, args.loss))
    described = (
        f"autoencoder of code {'x'.join(map(str, model.get_layer('decoder').inputs[0].shape[1:]))} to {args.task}"
    )
    pictures = callbacks.task_pictures(task, dataset.validation)
    _run.train(args, model, dataset, described, pictures, task=task, loss=args.loss)


if __name__ == "__main__":
    _flags.run(main)
