"""Whether a `.keras` file is safe to load: files come from strangers, too, and Keras builds what their config names.

Everything is looked at before anything is built. What is not known is refused: members of the archive, classes, names
of functions, links inside the weights, and shapes that the weights in the file cannot fill.
"""

import json
import math
import zipfile

import h5py
import keras

from keras_ae.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
METADATA = "keras_ae.json"  # ours, next to Keras's own members
MEMBERS = {"metadata.json", CONFIG, WEIGHTS, METADATA}
TEXT_LIMIT = 2**24  # bytes of a member that is JSON


def _names(*lines: str) -> set[str]:
    return set(" ".join(lines).split())


def _convolution(config: dict, shape: list) -> int:
    return math.prod(config["kernel_size"]) * shape[-1] * config["filters"] // config.get("groups", 1)


# Layers with weights -> how many, from their config and the shape that they are built for
WEIGHT_COUNTS = {
    "BatchNormalization": lambda config, shape: 4 * max(size or 0 for size in shape),
    "Conv1D": _convolution,
    "Conv2D": _convolution,
    "Conv2DTranspose": _convolution,
    "Conv3D": _convolution,
    "Dense": lambda config, shape: shape[-1] * config["units"],
    "DepthwiseConv2D": lambda config, shape: shape[-1] * math.prod(config["kernel_size"]) * config["depth_multiplier"],
    "Embedding": lambda config, shape: config["input_dim"] * config["output_dim"],
    "GroupNormalization": lambda config, shape: max(size or 0 for size in shape),
    "LayerNormalization": lambda config, shape: max(size or 0 for size in shape),
    "PReLU": lambda config, shape: math.prod(shape[1:]) if not config["shared_axes"] else 1,
}
WEIGHTLESS = _names(
    "Activation ActivityRegularization Add Average AveragePooling2D Concatenate Cropping2D Dot Dropout ELU Flatten",
    "GaussianDropout GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D Identity InputLayer LeakyReLU",
    "MaxPooling2D Maximum Minimum Multiply Permute ReLU RepeatVector Rescaling Reshape Resizing Softmax",
    "SpatialDropout2D Subtract UnitNormalization UpSampling2D ZeroPadding2D",
)
KNOWN = {
    "keras": {"DTypePolicy", "Functional", "Sequential"},
    "keras.dtype_policies": {"DTypePolicy"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
    "keras.models": {"Functional", "Sequential"},
    "keras.layers": {*WEIGHT_COUNTS, *WEIGHTLESS},
    "keras.initializers": _names(
        "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal",
        "RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros",
    ),
    "keras.regularizers": {"L1", "L2", "L1L2", "OrthogonalRegularizer"},
    "keras.constraints": {"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"},
}
ACTIVATIONS = _names(
    "celu elu exponential gelu hard_sigmoid hard_silu hard_swish leaky_relu linear log_sigmoid log_softmax mish relu",
    "relu6 selu sigmoid silu softmax softplus softsign swish tanh",
)
POLICIES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}


class RefusedError(ValueError):
    """What in the file is not allowed."""


def check(path) -> None:
    """Returns if the file holds nothing but what this package writes and stock Keras layers.

    Raises:
        InputError: anything else is in it, or it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            config = json.loads(archive.read(CONFIG))
            with archive.open(WEIGHTS) as member, h5py.File(member, "r") as file:
                numbers = _check_weights(file, archive.getinfo(WEIGHTS).file_size)
        config.pop("compile_config", None)  # not loaded
        _check_config(config)
        if (wanted := _count_weights(config)) > numbers:
            raise RefusedError(f"its layers ask for {wanted:,} weights, and it holds {numbers:,}")
    except RefusedError as error:
        raise InputError(
            f"{path} is refused: {error}. If you know who made it, --trust (in Python trust=True) loads it"
        ) from error
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}); get it again") from error


def _check_members(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if len(names) != len(set(names)) or set(names) != MEMBERS:
        unknown = sorted(set(names) - MEMBERS) or sorted(MEMBERS - set(names)) or names
        raise RefusedError(f"its members are not those that save_model writes ({', '.join(unknown)[:100]})")
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise RefusedError(f"its {entry.filename} is compressed or encrypted")
        if entry.filename != WEIGHTS and entry.file_size > TEXT_LIMIT:
            raise RefusedError(f"its {entry.filename} has {entry.file_size:,} bytes")
    if (broken := archive.testzip()) is not None:
        raise zipfile.BadZipFile(broken)


def _check_weights(file: h5py.File, size: int) -> int:
    """How many numbers lie in the groups of the file itself."""
    numbers, stack, seen = 0, [file], set()
    while stack:
        group = stack.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise RefusedError(f"its weights {group.name}/{name} are a link")
            one = group[name]
            address = h5py.h5o.get_info(one.id).addr
            if address in seen:
                raise RefusedError(f"its weights {group.name}/{name} are linked twice")
            seen.add(address)
            if isinstance(one, h5py.Group):
                stack.append(one)
                continue
            if not isinstance(one, h5py.Dataset) or one.external or one.is_virtual or one.compression is not None:
                raise RefusedError(f"its weights {one.name} are not stored in it as they are")
            if one.dtype.kind not in "fiub" or one.nbytes > size:
                raise RefusedError(f"its weights {one.name} are not numbers, or more than the file holds")
            numbers += one.size
    if numbers > size:
        raise RefusedError(f"it declares {numbers:,} weights in {size:,} bytes")
    return numbers


def _check_config(value, key: str = "") -> None:
    if isinstance(value, dict):
        if "class_name" in value:
            _check_class(value)
        for name, part in value.items():
            _check_config(part, name)
    elif isinstance(value, list):
        for part in value:
            _check_config(part, key)
    elif isinstance(value, str):
        if key == "activation" and value not in ACTIVATIONS:
            raise RefusedError(f"the activation '{value[:50]}' is not known")
        if key in {"dtype", "compute_dtype"} and value not in POLICIES | {"int32", "int64", "uint8", "bool"}:
            raise RefusedError(f"the dtype '{value[:50]}' is not known")
        if key.endswith(("_initializer", "_regularizer", "_constraint")) and not value.isidentifier():
            raise RefusedError(f"the {key} '{value[:50]}' is not known")


def _check_class(value: dict) -> None:
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if name == "__keras_tensor__":
        return
    own = keras.saving.get_custom_objects().get(registered) if isinstance(registered, str) else None
    if own is not None and own.__name__ == name and own.__module__.startswith("keras_ae."):
        return
    if module not in KNOWN or name not in KNOWN[module] or registered not in (None, name):
        raise RefusedError(f"the class {str(registered or name)[:80]} of {str(module)[:80]} is not known")
    if name == "DTypePolicy" and value["config"]["name"] not in POLICIES:
        raise RefusedError(f"the dtype policy '{str(value['config']['name'])[:50]}' is not known")


def _count_weights(value) -> int:
    """How many weights, without biases, the layers of a config ask for."""
    if isinstance(value, list):
        return sum(map(_count_weights, value))
    if not isinstance(value, dict):
        return 0
    total = sum(map(_count_weights, value.values()))
    count = WEIGHT_COUNTS.get(value.get("class_name"))
    if count is None:
        return total
    shape = (value.get("build_config") or {}).get("input_shape")
    if not isinstance(shape, list):
        raise RefusedError(f"its layer {value['class_name']} does not say for which shape it was built")
    number = count(value["config"], shape)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise RefusedError(f"its layer {value['class_name']} has no possible size")
    return total + number
