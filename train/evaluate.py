"""Measures a saved model on a split of a data set.

python train/evaluate.py saved_models/vae_shapes.keras
"""

import json
import math
from pathlib import Path

import _cli


def main() -> None:
    parse = _cli.Parser(description=__doc__.splitlines()[0])
    parse.add_argument("file", type=Path, metavar="FILE", help="a .keras file written by train/vae.py")
    _cli.add_backend(parse)
    _cli.add_data(parse, None)
    parse.add_argument("--split", choices=("train", "validation", "test"), default="test", help="which images")
    parse.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parse.add_argument("--smoke", action="store_true", help="few images, to see that everything runs")
    args = parse.parse_args()
    if args.smoke:
        args.limit = args.limit or 20
    _cli.set_environment(parse, args.backend)
    import keras_ae
    from keras_ae import data, load_model, read_metadata

    model = load_model(args.file)
    dataset = _cli.load_dataset(args, model, read_metadata(args.file))
    split = dataset.splits[args.split]
    results = model.evaluate(data.evaluation_batches(split), return_dict=True, verbose=0)
    results = {name: float(value) for name, value in results.items()}
    if not isinstance(model.likelihood, keras_ae.objectives.LIKELIHOODS["bernoulli"]):  # which is no density
        results["bits_per_dimension"] = 8 - results["elbo"] / (math.prod(model.image_shape) * math.log(2))
    if args.json:
        about = {"file": str(args.file), "dataset": dataset.name, "split": args.split, "images": len(split)}
        print(json.dumps({**about, **results}))
    else:
        _cli.table(f"{args.file}: {len(split):,} {args.split} images of {dataset.name} (nats per image)", results)


if __name__ == "__main__":
    _cli.run(main)
