"""Trains a variational autoencoder on images, with a picture of what it learns each epoch.

python train/vae.py --backend jax
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import _cli

PLACES = ("data_dir", "cache_dir", "run_dir", "output", "resume")


def parser() -> _cli.Parser:
    parser = _cli.Parser(description=__doc__.splitlines()[0])
    _cli.add_backend(parser)
    _cli.add_data(parser, "shapes")
    add = parser.add_argument_group("images and model").add_argument
    add("--image-size", type=_cli.image_size, metavar="SIZE", help="scale and centre-crop to 64, or 45x61 (H x W)")
    add("--latent-dim", type=_cli.positive, default=16, help="latent features")
    add(
        "--width", type=_cli.positive, default=32, help="size of the networks: a quarter of their last level's features"
    )
    add("--conditioning", default="decoder", help="who sees the label: none, decoder or both (none without classes)")
    add("--flip", action="store_true", help="mirror half of the training images left to right, others each epoch")
    add_objective = parser.add_argument_group("objective").add_argument
    add_objective(
        "--likelihood",
        default="squared_error",
        help="squared_error, bernoulli, gaussian (optimal shared variance) or gaussian_learned",
    )
    add_objective("--beta", type=_cli.not_negative, default=1.0, help="weight of the KL")
    add_objective("--kl-warmup", type=_cli.not_negative, default=0.0, help="epochs over which that weight grows from 0")
    add_objective("--free-bits", type=_cli.not_negative, default=0.0, help="nats per latent that cost nothing")
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=_cli.positive, default=8, help="passes over the training images")
    add("--batch-size", type=_cli.positive, default=128, help="images a step")
    add("--learning-rate", type=_cli.not_negative, default=3e-3, help="peak, after a warm-up; then cosine decay to 0")
    add("--clip-norm", type=_cli.not_negative, default=0.0, help="bound of the whole gradient's norm; 0: none")
    add("--precision", choices=_cli.PRECISIONS, default="float32", help="of the computation")
    add("--seed", type=int, default=0, help="of weights, shuffling and noise")
    add("--smoke", action="store_true", help="tiny data and two steps, to see that everything runs")
    add = parser.add_argument_group("files").add_argument
    add("--run-dir", type=Path, metavar="DIR", help="where the run writes (default: runs/vae-NAME-BACKEND-TIME)")
    add("--output", type=Path, metavar="FILE", help="the trained model (default: model.keras in the run's folder)")
    add("--resume", type=Path, metavar="RUN_DIR", help="go on with a stopped run, with the flags kept in it")
    add("--grid-every", type=_cli.positive, default=1, help="epochs between pictures")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    if args.resume:
        args = resumed(parse, args)
    elif args.smoke:
        args.limit, args.epochs, args.batch_size = 80, 1, 32
    _cli.set_environment(parse, args.backend)
    from keras_ae import InputError, callbacks, data, save_model

    started = time.time()
    dataset = data.load(
        args.dataset,
        image_size=args.image_size,
        data_dir=args.data_dir,
        cache_dir=args.cache_dir,
        limit=args.limit,
    )
    _cli.forget_tensorflow(args.backend)
    steps = data.steps_per_epoch(dataset.train, args.batch_size)
    vae = build(args, dataset, steps)
    run_dir = args.resume or new_run_dir(args)
    output = args.output or run_dir / "model.keras"
    if output.exists():
        if args.resume:
            raise InputError(f"{run_dir} is finished, {output} exists already; sample from it, or start a new run")
        raise InputError(f"{output} exists already; choose another place with --output")
    history = callbacks.restore(vae, run_dir)
    progress = callbacks.Progress()
    print(
        f"{dataset.name}: {len(dataset.train):,} training, {len(dataset.validation):,} validation, "
        f"{len(dataset.test):,} test images of {'x'.join(map(str, dataset.image_shape))}\n"
        f"VAE with {vae.count_params():,} weights and {args.latent_dim} latents on {args.backend}\n"
        f"run folder: {run_dir}",
        flush=True,
    )
    try:
        vae.fit(
            data.training_batches(dataset.train, args.batch_size, seed=args.seed, epoch=len(history), flip=args.flip),
            steps_per_epoch=steps,
            epochs=args.epochs,
            initial_epoch=len(history),
            validation_data=data.evaluation_batches(dataset.validation),
            verbose=0,
            callbacks=[
                callbacks.Checkpoint(run_dir, history),
                callbacks.ImageGrids(run_dir, dataset.validation.batch(slice(0, 16)), args.grid_every, args.seed),
                callbacks.LossCurves(run_dir, history),
                progress,
            ],
        )
    except KeyboardInterrupt:
        progress.close()
        print(f"\ngo on with: python train/vae.py --resume {run_dir}", file=sys.stderr)
        raise
    results = vae.evaluate(data.evaluation_batches(dataset.test), return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    save_model(vae, output, metadata(args, dataset, results))
    _cli.table(f"{len(dataset.test):,} test images (nats per image)", results)
    print(f"\n{time.time() - started:.0f} s. Written: {output}, and pictures, curves and history in {run_dir}")
    print(f"next: python train/sample.py {output} --backend {args.backend}")


def build(args, dataset, steps: int):
    import keras

    from keras_ae import conv_vae

    random.seed(args.seed)  # where initializers draw their seeds; Keras's own function would import TensorFlow
    keras.config.set_dtype_policy(args.precision)
    vae = conv_vae(
        dataset.image_shape,
        args.latent_dim,
        class_names=dataset.class_names,
        conditioning=args.conditioning if dataset.class_names else "none",
        likelihood=args.likelihood,
        width=args.width,
        beta=args.beta,
        kl_warmup_steps=round(args.kl_warmup * steps),
        free_bits=args.free_bits,
        seed=args.seed,
    )
    total = steps * args.epochs
    warmup = min(300, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.1 * args.learning_rate, total - warmup, warmup_target=args.learning_rate, warmup_steps=warmup
    )
    # Muon for the dense layers, AdamW for the rest: fewer epochs to the same ELBO than Adam (docs/performance.md)
    vae.compile(keras.optimizers.Muon(schedule, global_clipnorm=args.clip_norm or None))
    return vae


def new_run_dir(args) -> Path:
    from keras_ae import InputError

    name = Path(args.dataset).name.replace("/", "-")
    run_dir = args.run_dir or Path("runs") / f"vae-{name}-{args.backend}-{time.strftime('%Y%m%d-%H%M%S')}"
    if run_dir.exists():
        raise InputError(f"{run_dir} exists already; choose another with --run-dir, or go on with --resume {run_dir}")
    try:
        run_dir.mkdir(parents=True)
        (run_dir / "config.json").write_text(json.dumps(flags(args), indent=1))
    except OSError as error:
        raise InputError(f"cannot write {run_dir} ({error.strerror}); choose another with --run-dir") from error
    return run_dir


def resumed(parse: _cli.Parser, args):
    """The flags kept in the run; only where the data lies may be said anew."""
    places = {"resume": args.resume, "data_dir": args.data_dir, "cache_dir": args.cache_dir}
    given = {name for name, value in vars(args).items() if value != parse.get_default(name)} - places.keys()
    if given:
        parse.error(f"--resume goes on with the run's own flags; leave out {', '.join(sorted(given))}")
    kept = _cli.read_json(parse, args.resume / "config.json")
    for name, value in kept.items():
        if name not in places or places[name] is None:
            setattr(args, name, value)
    args.image_size = tuple(args.image_size) if args.image_size else None
    args.output = Path(args.output) if args.output else None
    return args


def flags(args) -> dict:
    return {name: os.fspath(value) if isinstance(value, Path) else value for name, value in vars(args).items()}


def metadata(args, dataset, results: dict) -> dict:
    import keras

    import keras_ae

    return {
        "model": "vae",
        "dataset": args.dataset,
        "class_names": dataset.class_names,
        "image_shape": dataset.image_shape,
        "flags": {name: value for name, value in flags(args).items() if name not in PLACES},
        "versions": {"keras_ae": keras_ae.__version__, "keras": keras.__version__},
        "test": results,
    }


if __name__ == "__main__":
    _cli.run(main)
