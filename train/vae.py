"""Trains a variational autoencoder on images, with a picture of what it learns each epoch.

python train/vae.py --backend jax --epochs 10
python train/vae.py --dataset photos --image-size 64 --flip --latent-dim 64
python train/vae.py --dataset mnist --binarize --likelihood bernoulli --network gated --prior flow
python train/vae.py --dataset cifar10 --network residual --latent fsq:8x8x8 --code-size 8
python train/vae.py --dataset cifar10 --network hierarchical --levels 4x4x16,8x8x8 --likelihood logistic_mixture:5
"""

import _flags
import _run
import _sharp
import _types


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_backend(parser, several=True)
    _flags.add_data(parser, "shapes", training=True)
    model = parser.add_argument_group("model")
    add = model.add_argument
    add("--network", default="conv", help="conv, residual (deeper), mlp or gated (dense layers), or hierarchical")
    add("--width", type=_types.features, help="features of dense layers, or a quarter of the last convolution's")
    kinds = "or deterministic; with --code-size tokens: fsq:8x8x8 (levels), vq:512 or vq_cosine:512"
    add("--latent", default="gaussian", help=kinds)
    add("--latent-dim", type=_types.features, default=16, help="latent features")
    kinds = "of a hierarchy, from the top: 4x4x16,8x8x8 (height x width x features), or 40,40 of dense layers"
    add("--levels", type=_types.levels, help=kinds)
    add("--code-size", type=_types.features, help="of a spatial code instead: N x N places")
    add("--code-channels", type=_types.features, help="features of each place (default: 4; of vq 16; fsq has its own)")
    add(
        "--code-entropy",
        type=_types.not_negative,
        default=0.0,
        help="weight of even use of codes, of fsq, such as 0.03",
    )
    kinds = "mixture:100, vamp:500 (components) or flow:6 (layers)"
    add("--prior", help=f"{kinds} (default: standard; of tokens uniform)")
    add("--objective", help="iwae:5 (draws an image) or reconstruction (default: elbo, or what the latent asks for)")
    add("--regularizer", default="none", help="or tc:6, a total correlation of weight 6 in the loss")
    _flags.add_conditioning(add, "decoder")
    kinds = "gaussian_learned; of grey levels logistic or logistic_mixture:5 (components)"
    add("--likelihood", default="squared_error", help=f"or bernoulli, gaussian (optimal variance), {kinds}")
    drawn = model.add_mutually_exclusive_group().add_argument
    drawn("--binarize", action="store_true", help="draw grey pixels as 0 or 1, anew in each epoch, for bernoulli")
    drawn("--dequantize", action="store_true", help="draw pixels evenly within their level, for Gaussian likelihoods")
    add("--beta", type=_types.not_negative, default=1.0, help="weight of the KL")
    add("--kl-warmup", type=_types.not_negative, default=0.0, help="epochs over which that weight grows from 0")
    add("--free-bits", type=_types.not_negative, default=0.0, help="nats per latent that cost nothing")
    _sharp.add_sharp(parser)
    add = _flags.add_training(parser, "vae")
    add("--skip-norm", type=_types.not_negative, metavar="X", help="skip a step whose gradient has a larger norm")
    return parser


def main() -> None:
    args = _flags.training_arguments(parser())
    from keras_ae import backends, callbacks, training
    from keras_ae.models.guarded import shipped

    dataset = _flags.load(args)
    args.precision = training.prepare(args.precision, args.seed)
    with backends.replicated():
        model = build(args, dataset)
    shown = dataset.validation if len(dataset.validation) else dataset.train
    pictures = callbacks.vae_pictures(shown.batch(slice(0, 16)), args.seed)
    _run.train(args, model, dataset, f"VAE of {shipped(model).size}", pictures)


def build(args, dataset):
    """The compiled model."""
    from keras_ae import build_vae, data
    from keras_ae.latents import get_latent

    steps = data.steps_per_epoch(dataset.train, args.batch_size)
    channels = (args.code_channels,) if args.code_channels else ()
    size = (args.code_size, args.code_size, *channels) if args.code_size else args.latent_dim
    if args.levels:
        size = [tuple(level) for level in args.levels]
    vae = build_vae(
        dataset.image_shape,
        size,
        network=args.network,
        latent=get_latent(args.latent, args.code_entropy),
        prior=args.prior,
        objective=args.objective,
        regularizers=[args.regularizer],
        class_names=dataset.class_names,
        conditioning=args.conditioning if dataset.class_names else "none",
        likelihood=args.likelihood,
        width=args.width,
        beta=args.beta,
        kl_warmup_steps=round(args.kl_warmup * steps),
        free_bits=args.free_bits,
        seed=args.seed,
    )
    vae.adapt(dataset.train)
    model = _sharp.sharp_fit(args, vae, steps)
    model.compile(_sharp.optimizers(args, model, steps), skip_norm=args.skip_norm)
    return model


if __name__ == "__main__":
    _flags.run(main)
