"""Trains a convolutional autoencoder to reconstruct, denoise, complete or segment images.

python train/conv_ae.py --backend torch --task denoise --skip-connections
"""

import _flags
import _training


def parser() -> _flags.Parser:
    def code(add):
        add(
            "--task",
            choices=("reconstruct", "denoise", "complete", "segment"),
            default="reconstruct",
            help="what the images are turned into",
        )
        add("--code-size", type=_flags.positive, default=2, help="height and width of the code")
        add("--code-channels", type=_flags.positive, default=128, help="features of the code at each of its places")
        add("--skip-connections", action="store_true", help="ways around the code at every level (U-Net)")
        add("--blocks", type=int, default=0, help="residual blocks of two convolutions at each level")
        _flags.add_conditioning(add, "none")

    parser = _training.parser(__doc__.splitlines()[0], "conv_ae", code)
    add = parser.add_argument_group("objective").add_argument
    add("--loss", metavar="NAME", help="mse, mae, ssim or psnr (default: mse; segment: cross-entropy)")
    _flags.add_corruption(add, "of the images that come in")
    return parser


def main() -> None:
    args = _training.arguments(parser())
    from keras_ae import callbacks, data, get_task

    task = get_task(args.task, args.corruption, label=args.conditioning != "none")
    dataset = _training.load(args)
    task.check(dataset)
    model = build(args, dataset)
    model.compile(
        _training.optimizer(args, data.steps_per_epoch(dataset.train, args.batch_size)),
        **task.measures(model, args.loss),
    )
    code = f"{args.code_size}x{args.code_size}x{args.code_channels}"
    _training.run(
        args,
        model,
        dataset,
        name="conv_ae",
        describe=f"convolutional autoencoder of code {code} to {args.task}",
        pictures=callbacks.task_pictures(task, dataset.validation),
        about={"task": args.task, "corruption": task.corruption, "mask_levels": dataset.train.mask_levels},
        task=task,
    )


def build(args, dataset):
    from keras_ae import conv_autoencoder

    _training.prepare(args)
    return conv_autoencoder(
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


if __name__ == "__main__":
    _flags.run(main)
