"""Writes a model for places without Keras: ONNX, SavedModel, LiteRT, or a page that shows it in a browser.

python train/export.py saved_models/vae_shapes.keras --output exported
python train/export.py saved_models/vae_shapes.keras --format html --open
"""

import argparse
from pathlib import Path

import _environment
import _flags

FORMATS = ("onnx", "saved_model", "litert", "html")


def parser() -> _flags.Parser:
    parser = _flags.Parser(__doc__)
    _flags.add_file(parser)
    add = parser.add_argument_group("what to write").add_argument
    add("--format", choices=FORMATS, default="onnx", help="html: one page, which needs no server")
    add("--output", type=Path, metavar="PATH", help="the folder, or the page (default: the file's name)")
    text = "float16, not of saved_model: half the space, computed with as float32 (default: float32; of a page float16 "
    text += "where it serves)"
    add("--weights", choices=("float32", "float16"), help=text)
    add("--uint8", action="store_true", help="images come and go as bytes, 0 to 255")
    add = parser.add_argument_group("of a page").add_argument
    text = "inline: onnxruntime-web within it, so that it works offline; cdn: a link, and a smaller page"
    add("--runtime", choices=("inline", "cdn"), default="inline", help=text)
    text = "the unpacked npm package onnxruntime-web (default: npm pack fetches it)"
    add("--runtime-folder", type=Path, metavar="DIR", help=text)
    add("--open", action="store_true", help="show it in the browser")
    _flags.add_data(parser, None)
    parser.set_defaults(backend="tensorflow")
    return parser


def main() -> None:
    parse = parser()
    args = parse.parse_args()
    is_page = args.format == "html"
    _check(parse, args, is_page)
    output = args.output or Path(args.file.stem + (".html" if is_page else f"-{args.format}"))
    if output.exists():
        parse.error(f"{output} exists already; choose another name with --output")
    _environment.set_environment(parse, args.backend)
    from keras_ae import export_model, exports

    saved = _flags.open_file(args)
    if is_page:
        where = {name: getattr(args, name) for name in ("data_dir", "cache_dir", "limit")}
        dataset = None
        if args.dataset or saved.metadata.get("dataset") == "shapes":
            dataset = saved.load_dataset(args.dataset, **where)
        exports.export_page(
            saved, output, dataset, weights=args.weights, runtime=args.runtime, runtime_folder=args.runtime_folder
        )
    else:
        export_model(saved.model, output, args.format, weights=args.weights or "float32", uint8=args.uint8)
    print(f"written: {output}")
    if args.open:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())


def _check(parse: argparse.ArgumentParser, args, is_page: bool) -> None:
    """Ends with a line where flags do not go together."""
    if not is_page and (args.open or args.dataset or args.runtime_folder or args.runtime != "inline"):
        parse.error("--open, --dataset, --runtime and --runtime-folder are of --format html")
    if is_page and args.uint8:
        parse.error("--uint8 is of the other formats; leave it out")


if __name__ == "__main__":
    _flags.run(main)
