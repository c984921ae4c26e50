"""Fits a prior to the codes of a trained model, and writes both as one file that samples.

python train/prior.py runs/mine/model.keras --dataset photos --epochs 20
python train/prior.py saved_models/conv_ae_stl10_2x2.keras --dataset stl10 --prior gmm:10 --by-class
"""

import shlex
import sys
import time
from pathlib import Path

import _environment
import _flags
import _run
import _types


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_file(parser)
    _flags.add_backend(parser, several=True)
    add = parser.add_argument_group("prior").add_argument
    kinds = "flow_matching:96 (features of a network) or gmm:10 (Gaussians, at most); of tokens autoregressive:128"
    add("--prior", help=f"{kinds} (default: a network)")
    add("--by-class", action="store_true", help="one for each class of the data set")
    add("--epochs", type=_types.positive, default=10, help="passes over the codes, of a network")
    add("--batch-size", type=_types.positive, default=128, help="codes a step")
    add(
        "--learning-rate",
        type=_types.not_negative,
        default=1.5e-3,
        help="peak, after a warm-up; then cosine decay to 0",
    )
    add("--precision", choices=_flags.PRECISIONS, default="float32", help="of a network, while it is trained")
    add("--flip", action="store_true", help="fit to the codes of mirrored images, too")
    add("--seed", type=_types.seed, default=0, help="of weights, order and noise")
    add("--smoke", action="store_true", help="few images and one epoch, to see that everything runs")
    _flags.add_data(parser, None)
    add = parser.add_argument_group("files").add_argument
    add("--run-dir", type=Path, metavar="DIR", help="where the run writes; the same command resumes it")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="the model with its prior (default: model.keras in the run's folder)",
    )
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    _environment.restart_with_allocator()
    if args.smoke:
        args.limit, args.epochs, args.batch_size = args.limit or 200, 1, 32
    _environment.set_environment(parse, args.backend, args.devices)
    from keras_ae import InputError, backends, codes, priors, runs, save_model, saving, training, with_prior

    now = backends.once(lambda: time.strftime("%Y%m%d-%H%M%S"))
    folder = args.run_dir or Path("runs") / f"prior-{args.file.stem}-{args.backend}-{now}"
    output = args.output or folder / runs.MODEL
    runs.check_output(output)
    training.prepare(args.precision, args.seed)
    saved = _flags.open_file(args)
    own = runs.plain(vars(args), without=(*runs.PLACES, "file", "trust", "max_memory", "devices"))
    backends.once(lambda: runs.open_search(folder, own))
    path = folder / "codes.npz"
    if not backends.once(path.exists):
        _encode(args, saved, path)
    held = codes.open_codes(path)
    codes.check_model(saved.model, held)
    if args.by_class and not held.class_names:
        raise InputError("the data set has no classes; leave out --by-class")
    names = held.class_names if args.by_class else []
    prior = priors.get_fitted(args.prior, held.codes, held.labels, classes=len(names), seed=args.seed)
    with backends.replicated():
        vae = with_prior(saved.model, prior, names)
    shape = "x".join(map(str, held.codes.shape[1:]))
    print(f"{len(held):,} {held.kind} of {shape}\nrun folder: {folder}", flush=True)
    dataset = codes.as_dataset(held, saved.image_shape, saved.metadata.get("dataset"))
    if prior.has_network:
        place = [] if args.run_dir else ["--run-dir", str(folder)]
        with _run.resumable(lambda: shlex.join(["python", "train/prior.py", *sys.argv[1:], *place])):
            _train(args, vae, dataset, folder, output)
    else:
        backends.once(lambda: save_model(vae, output, saving.metadata(vae, dataset)))
    sample = shlex.join(["python", "train/sample.py", str(output), "--backend", args.backend])
    print(f"\nwritten: {output}\nnext: {sample}")


def _encode(args, saved, path: Path) -> None:
    from keras_ae import codes

    kind = "samples" if saved.is_vae and saved.model.latent.is_random else None
    dataset = saved.load_dataset(args.dataset, data_dir=args.data_dir, cache_dir=args.cache_dir, limit=args.limit)
    _environment.forget_tensorflow(args.backend)
    names = dataset.class_names
    codes.encode(saved.model, dataset.train, path, kind=kind, class_names=names, seed=args.seed, flip=args.flip)


def _train(args, vae, dataset, folder: Path, output: Path) -> None:
    import keras

    from keras_ae import backends, callbacks, data, models, optimizers, pictures, train

    total = args.epochs * data.steps_per_epoch(dataset.train, args.batch_size)
    rate = optimizers.schedule(total, args.learning_rate)
    with backends.replicated():
        fit = models.PriorFit(vae, seed=args.seed)
        fit.compile(keras.optimizers.AdamW(rate, weight_decay=1e-2))
    settings = {name: getattr(args, name) for name in ("epochs", "batch_size", "seed")}
    grids = callbacks.ImageGrids(folder, pictures.prior_pictures(args.seed))
    train(fit, dataset, folder, **settings, callbacks=[grids], output=output)


if __name__ == "__main__":
    _flags.run(main)
