"""Trains a variational autoencoder on images, with a picture of what it learns each epoch.

python train/vae.py --backend jax --epochs 10
python train/vae.py --dataset photos --image-size 64 --flip --latent-dim 64
"""

import _flags
import _run
import _types


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_backend(parser)
    _flags.add_data(parser, "shapes", training=True)
    add = parser.add_argument_group("model").add_argument
    add("--latent-dim", type=_types.features, default=16, help="latent features")
    add("--width", type=_types.features, default=32, help="a quarter of the features of the networks' last level")
    _flags.add_conditioning(add, "decoder")
    add("--likelihood", default="squared_error", help="or bernoulli, gaussian (optimal variance) or gaussian_learned")
    add("--beta", type=_types.not_negative, default=1.0, help="weight of the KL")
    add("--kl-warmup", type=_types.not_negative, default=0.0, help="epochs over which that weight grows from 0")
    add("--free-bits", type=_types.not_negative, default=0.0, help="nats per latent that cost nothing")
    _flags.add_training(parser, "vae")
    return parser


def main() -> None:
    args = _flags.training_arguments(parser())
    from keras_ae import callbacks, conv_vae, data, optimizers, training

    dataset = _flags.load(args)
    steps = data.steps_per_epoch(dataset.train, args.batch_size)
    args.precision = training.prepare(args.precision, args.seed)
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
    vae.compile(optimizers.recipe(steps, args.epochs, args.learning_rate, args.clip_norm))
    pictures = callbacks.vae_pictures(dataset.validation.batch(slice(0, 16)), args.seed)
    _run.train(args, vae, dataset, f"VAE of {args.latent_dim} latents", pictures)


if __name__ == "__main__":
    _flags.run(main)
