"""Trains a variational autoencoder on images, with a picture of what it learns each epoch.

python train/vae.py --backend jax
"""

import _flags
import _training


def parser() -> _flags.Parser:
    def code(add):
        add("--latent-dim", type=_flags.positive, default=16, help="latent features")
        _flags.add_conditioning(add, "decoder")

    parser = _training.parser(__doc__.splitlines()[0], "vae", code)
    add = parser.add_argument_group("objective").add_argument
    add(
        "--likelihood",
        default="squared_error",
        help="squared_error, bernoulli, gaussian (optimal shared variance) or gaussian_learned",
    )
    add("--beta", type=_flags.not_negative, default=1.0, help="weight of the KL")
    add("--kl-warmup", type=_flags.not_negative, default=0.0, help="epochs over which that weight grows from 0")
    add("--free-bits", type=_flags.not_negative, default=0.0, help="nats per latent that cost nothing")
    return parser


def main() -> None:
    args = _training.arguments(parser())
    from keras_ae import callbacks, data

    dataset = _training.load(args)
    vae = build(args, dataset, data.steps_per_epoch(dataset.train, args.batch_size))
    _training.run(
        args,
        vae,
        dataset,
        name="vae",
        describe=f"VAE of {args.latent_dim} latents",
        pictures=callbacks.vae_pictures(dataset.validation.batch(slice(0, 16)), args.seed),
        about={"likelihood": args.likelihood},
        unit=" (nats per image)",
    )


def build(args, dataset, steps: int):
    from keras_ae import conv_vae

    _training.prepare(args)
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
    vae.compile(_training.optimizer(args, steps))
    return vae


if __name__ == "__main__":
    _flags.run(main)
