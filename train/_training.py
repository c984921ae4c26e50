"""What the training scripts share: their flags, and a run from the data to the saved model."""

import random
import sys
import time
from pathlib import Path

import _environment
import _flags
import _runs

STARTED = time.time()


def parser(description: str, model: str, code) -> _flags.Parser:
    """The flags of every training; `code(add)` adds those that size the model's code.

    Args:
        model: the name of the model, as in "runs/<model>-...".
    """
    parser = _flags.Parser(description=description)
    _flags.add_backend(parser)
    _flags.add_data(parser, "shapes")
    add = parser.add_argument_group("images and model").add_argument
    add("--image-size", type=_flags.image_size, metavar="SIZE", help="scale and centre-crop to 64, or 45x61 (H x W)")
    code(add)
    add(
        "--width",
        type=_flags.positive,
        default=32,
        help="size of the networks: a quarter of their last level's features",
    )
    add("--flip", action="store_true", help="mirror half of the training images left to right, others each epoch")
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=_flags.positive, default=3, help="passes over the training images")
    add("--batch-size", type=_flags.positive, default=64, help="images a step")
    add("--learning-rate", type=_flags.not_negative, default=3e-3, help="peak, after a warm-up; then cosine decay to 0")
    add("--clip-norm", type=_flags.not_negative, default=0.0, help="bound of the whole gradient's norm; 0: none")
    add(
        "--precision",
        choices=_flags.PRECISIONS,
        default="float32",
        help="of the computation; auto: mixed_bfloat16 on devices made for it",
    )
    add(
        "--checkpoint-every",
        type=_flags.interval,
        metavar="TIME",
        default={"seconds": 300},
        help="30s, 5m, 2h, or a number of steps (default: 5m); and at the end of each epoch",
    )
    add("--seed", type=_flags.seed, default=0, help="of weights, shuffling and noise")
    add("--smoke", action="store_true", help="tiny data and two steps, to see that everything runs")
    add = parser.add_argument_group("files").add_argument
    add("--run-dir", type=Path, metavar="DIR", help=f"where the run writes (default: runs/{model}-NAME-BACKEND-TIME)")
    add("--output", type=Path, metavar="FILE", help="the trained model (default: model.keras in the run's folder)")
    add("--start-from", type=Path, metavar="FILE", help="a saved model, to go on training its weights")
    add("--resume", type=Path, metavar="RUN_DIR", help="go on with a stopped run, with the flags kept in it")
    add("--grid-every", type=_flags.positive, default=1, help="epochs between pictures")
    return parser


def arguments(parser: _flags.Parser):
    """The flags given, or those of the run that is resumed; after this Keras may be imported."""
    args = parser.parse_args()
    _environment.restart_with_allocator()
    if args.resume:
        _runs.take_flags(parser, args)
    elif args.smoke:
        args.limit, args.epochs, args.batch_size = 80, 1, 32
    _runs.check_output(parser, args)
    _environment.set_environment(parser, args.backend)
    return args


def load(args):
    """The data set that the flags name."""
    from keras_ae import data

    dataset = data.load(
        args.dataset, image_size=args.image_size, data_dir=args.data_dir, cache_dir=args.cache_dir, limit=args.limit
    )
    _environment.forget_tensorflow(args.backend)
    return dataset


def prepare(args) -> None:
    """Seeds the initializers and sets the precision, before a model is built."""
    import keras

    from keras_ae import backends

    backends.tune_gpu()
    if args.precision == "auto":
        args.precision = "mixed_bfloat16" if backends.has_bfloat16() else "float32"
    random.seed(args.seed)  # where initializers draw their seeds; Keras's own function would import TensorFlow
    keras.config.set_dtype_policy(args.precision)


def optimizer(args, steps: int):
    """Muon, which needs far fewer epochs than Adam (docs/performance.md), with a warm-up and cosine decay."""
    import keras

    from keras_ae import Muon

    total = steps * args.epochs
    warmup = min(300, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.1 * args.learning_rate, total - warmup, warmup_target=args.learning_rate, warmup_steps=warmup
    )
    return Muon(schedule, global_clipnorm=args.clip_norm or None)


def run(args, model, dataset, *, name: str, describe: str, pictures, about: dict, task=None, unit: str = "") -> None:
    """Trains the compiled model in a run folder of its own, measures it on the test images and saves it.

    Args:
        name: of the kind of model.
        describe: the model in words.
        pictures: as `ImageGrids` takes it.
        about: what the saved file says beside data set, classes, image shape, flags, versions and results.
        task: what makes the batches; `None`: the images and labels themselves.
        unit: of the results, for the summary's title.
    """
    import keras_ae
    from keras_ae import callbacks, data

    if args.start_from:
        _runs.start_from(model, args.start_from)
    run_dir, output = _runs.open_run(args, name)
    with _runs.lock(run_dir):
        print(
            f"{dataset.name}: {len(dataset.train):,} training, {len(dataset.validation):,} validation, "
            f"{len(dataset.test):,} test images of {'x'.join(map(str, dataset.image_shape))}\n"
            f"{describe} with {model.count_params():,} weights on {args.backend}, {args.precision}\n"
            f"run folder: {run_dir}",
            flush=True,
        )
        try:
            keras_ae.fit(
                model,
                dataset,
                run_dir,
                epochs=args.epochs,
                batch_size=args.batch_size,
                seed=args.seed,
                flip=args.flip,
                task=task,
                **{f"checkpoint_{unit}": number for unit, number in args.checkpoint_every.items()},
                metadata=_runs.metadata(args, dataset, name) | about,
                callbacks=[callbacks.ImageGrids(run_dir, pictures, args.grid_every)],
            )
            results = _flags.measure(model, data.evaluation_batches(dataset.test, task=task))
            keras_ae.save_model(model, output, _runs.metadata(args, dataset, name) | about | {"test": results})
        except (KeyboardInterrupt, keras_ae.CheckpointError):
            print(f"\ngo on with: python train/{Path(sys.argv[0]).name} --resume {run_dir}", file=sys.stderr)
            raise
    _flags.table(f"{len(dataset.test):,} test images{unit}", results)
    print(f"\n{time.time() - STARTED:.0f} s. Written: {output}")
    print(f"and in {run_dir}: best.keras (lowest validation loss), pictures, curves, history, checkpoint")
    print(f"next: python train/sample.py {output} --backend {args.backend}")
