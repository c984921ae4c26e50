"""Trains a variational autoencoder on images, with a picture of what it learns each epoch.

python train/vae.py --backend jax
"""

import random
import sys
import time
from pathlib import Path

import _cli
import _runs


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
    add("--epochs", type=_cli.positive, default=3, help="passes over the training images")
    add("--batch-size", type=_cli.positive, default=64, help="images a step")
    add("--learning-rate", type=_cli.not_negative, default=3e-3, help="peak, after a warm-up; then cosine decay to 0")
    add("--clip-norm", type=_cli.not_negative, default=0.0, help="bound of the whole gradient's norm; 0: none")
    add("--precision", choices=_cli.PRECISIONS, default="float32", help="of the computation")
    add("--seed", type=_cli.seed, default=0, help="of weights, shuffling and noise")
    add("--smoke", action="store_true", help="tiny data and two steps, to see that everything runs")
    add = parser.add_argument_group("files").add_argument
    add("--run-dir", type=Path, metavar="DIR", help="where the run writes (default: runs/vae-NAME-BACKEND-TIME)")
    add("--output", type=Path, metavar="FILE", help="the trained model (default: model.keras in the run's folder)")
    add("--start-from", type=Path, metavar="FILE", help="a saved model, to go on training its weights")
    add("--resume", type=Path, metavar="RUN_DIR", help="go on with a stopped run, with the flags kept in it")
    add("--grid-every", type=_cli.positive, default=1, help="epochs between pictures")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    if args.resume:
        _runs.take_flags(parse, args)
    elif args.smoke:
        args.limit, args.epochs, args.batch_size = 80, 1, 32
    _runs.check_output(parse, args)
    _cli.set_environment(parse, args.backend)
    from keras_ae import callbacks, data, save_model

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
    if args.start_from:
        _runs.start_from(vae, args.start_from)
    run_dir, output = _runs.open_run(args, "vae")
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
        with callbacks.StopOnSignal() as stop:
            vae.fit(
                data.training_batches(
                    dataset.train, args.batch_size, seed=args.seed, epoch=len(history), flip=args.flip
                ),
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
                    stop,
                ],
            )
        results = vae.evaluate(data.evaluation_batches(dataset.test), return_dict=True, verbose=0)
        results = {name: float(value) for name, value in results.items()}
        save_model(vae, output, _runs.metadata(args, dataset, "vae", results))
    except KeyboardInterrupt:
        progress.close()
        print(f"\ngo on with: python train/vae.py --resume {run_dir}", file=sys.stderr)
        raise
    _cli.table(f"{len(dataset.test):,} test images (nats per image)", results)
    print(f"\n{time.time() - started:.0f} s. Written: {output}, and pictures, curves and history in {run_dir}")
    print(f"next: python train/sample.py {output} --backend {args.backend}")


def build(args, dataset, steps: int):
    import keras

    from keras_ae import Muon, conv_vae

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
    # Muon needs far fewer epochs than Adam for the same ELBO (docs/performance.md).
    vae.compile(Muon(schedule, global_clipnorm=args.clip_norm or None))
    return vae


if __name__ == "__main__":
    _cli.run(main)
