"""Labels as an input of a network."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("keras_ae")
class OneHot(keras.layers.Layer):
    """Integer labels (batch,) -> (batch, num_classes) of zeros and one 1.

    >>> keras.ops.convert_to_numpy(OneHot(3)(keras.ops.array([2], "int32"))).tolist()
    [[0.0, 0.0, 1.0]]
    """

    is_plain = True

    def __init__(self, num_classes: int, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def call(self, labels):
        # `ops.one_hot` looks at the labels' values on torch, and cannot be traced.
        return ops.cast(ops.equal(ops.expand_dims(labels, -1), ops.arange(self.num_classes)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.num_classes)

    def scratch(self, inputs, outputs) -> int:
        return 0

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


def with_label(x, label, num_classes: int):
    """Appends the one-hot label to the features of x, (batch, features) or (batch, height, width, features).

    >>> x, label = keras.Input((4, 4, 8)), keras.Input((), dtype="int32")
    >>> with_label(x, label, num_classes=3).shape
    (None, 4, 4, 11)
    """
    one_hot = OneHot(num_classes)(label)
    if len(x.shape) == 4:
        one_hot = layers.UpSampling2D(x.shape[1:3])(layers.Reshape((1, 1, num_classes))(one_hot))
    return layers.Concatenate()([x, one_hot])
