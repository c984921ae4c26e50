"""The config of a model: the classes and functions that it may name."""

import keras

from keras_ae.trust.archive import RefusedError


def _names(*lines: str) -> set[str]:
    return set(" ".join(lines).split())


KNOWN = {
    "keras": {"DTypePolicy", "Functional", "Sequential"},
    "keras.dtype_policies": {"DTypePolicy"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
    "keras.models": {"Functional", "Sequential"},
    "keras.layers": _names(
        "Activation ActivityRegularization Add Average AveragePooling2D BatchNormalization Concatenate Conv1D Conv2D",
        "Conv2DTranspose Conv3D Cropping2D Dense DepthwiseConv2D Dot Dropout ELU Embedding Flatten GaussianDropout",
        "GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization Identity InputLayer LeakyReLU",
        "LayerNormalization MaxPooling2D Maximum Minimum Multiply PReLU Permute ReLU RepeatVector Rescaling Reshape",
        "Resizing Softmax SpatialDropout2D Subtract UnitNormalization UpSampling2D ZeroPadding2D",
    ),
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
# Where the objects of these keys come from; an activation is written by its name.
ROLES = {
    "_initializer": "keras.initializers",
    "_regularizer": "keras.regularizers",
    "_constraint": "keras.constraints",
    "activation": None,
}
POLICIES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
DTYPES = POLICIES | {"int32", "int64", "uint8", "bool"}


def check_config(value, key: str = "") -> None:
    """Returns if a config, as JSON gives it, names nothing but what is known."""
    if isinstance(value, dict):
        if "class_name" in value:
            _check_class(value)
            _check_role(value, key)
        for name, part in value.items():
            check_config(part, name)
    elif isinstance(value, list):
        for part in value:
            check_config(part, key)
    elif isinstance(value, str):
        if key == "activation" and value not in ACTIVATIONS:
            raise RefusedError(f"the activation '{value[:50]}' is not known")
        if key in {"dtype", "compute_dtype"} and value not in DTYPES:
            raise RefusedError(f"the dtype '{value[:50]}' is not known")
        if key.endswith(("_initializer", "_regularizer", "_constraint")) and not value.isidentifier():
            raise RefusedError(f"the {key[:50]} '{value[:50]}' is not known")
    elif key == "lora_rank" and value is not None:
        raise RefusedError("its layers have weights of LoRA, which save_model does not write")


def _check_class(value: dict) -> None:
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if name == "__keras_tensor__":
        return
    if module is None:
        raise RefusedError(f"its {str(name)[:50]} is in a format of older versions, which builds it in another way")
    if _is_own(name, registered):
        return
    if module not in KNOWN or name not in KNOWN[module] or registered not in (None, name):
        raise RefusedError(f"the class {str(registered or name)[:80]} of {str(module)[:80]} is not known")
    if name == "DTypePolicy" and value["config"]["name"] not in POLICIES:
        raise RefusedError(f"the dtype policy '{str(value['config']['name'])[:50]}' is not known")


def _check_role(value: dict, key: str) -> None:
    """Returns if an object stands where its kind belongs: Keras calls whatever stands there."""
    role = next((role for role in ROLES if key.endswith(role)), None)
    if role and value.get("module") != ROLES[role]:
        raise RefusedError(f"its {key[:50]} is a {str(value['class_name'])[:50]}")


def _is_own(name, registered) -> bool:
    """Whether a class is one of this package that says how much memory it takes."""
    own = keras.saving.get_custom_objects().get(registered) if isinstance(registered, str) else None
    return (
        own is not None and own.__name__ == name and own.__module__.startswith("keras_ae.") and hasattr(own, "scratch")
    )
