"""Convolutions with the fast path of each backend, where the stock operation is slow."""

import math

import keras
from keras import ops

from keras_ae import backends


class _FastPath:
    """Only the operation changes: arguments, weights and values are the stock layer's."""

    def call(self, inputs):
        outputs = self._fast(inputs)
        if outputs is None:
            return super().call(inputs)
        return outputs if self.activation is None else self.activation(outputs)

    def _fast(self, inputs):
        if self.data_format != "channels_last" or self.groups != 1 or tuple(self.dilation_rate) != (1, 1):
            return None
        kernel = ops.convert_to_tensor(self.kernel)
        bias = ops.convert_to_tensor(self.bias) if self.use_bias else None
        return self._operation(ops.convert_to_tensor(inputs), kernel, bias, self.strides, self.padding)


@keras.saving.register_keras_serializable("keras_ae")
class Conv2D(_FastPath, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, the same function with the same weights, faster on a CPU on JAX and torch.

    >>> Conv2D(8, 3, strides=2, padding="same")(keras.Input((9, 9, 3))).shape
    (None, 5, 5, 8)
    """

    is_plain = True  # its `call` is all that it does (`backends/torch.py`)
    _operation = staticmethod(backends.conv2d)

    def scratch(self, inputs, outputs) -> int:
        """A copy of the image, padded or rearranged."""
        return 2 * math.prod(inputs[0][1:])


@keras.saving.register_keras_serializable("keras_ae")
class DepthwiseConv2D(_FastPath, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, the same function with the same weights, faster on a CPU on JAX and torch.

    >>> DepthwiseConv2D(3, strides=2, padding="same")(keras.Input((9, 9, 3))).shape
    (None, 5, 5, 3)
    """

    is_plain = True
    groups = 1
    _operation = staticmethod(backends.depthwise_conv2d)

    def scratch(self, inputs, outputs) -> int:
        """A copy of the image, padded or rearranged."""
        return 2 * math.prod(inputs[0][1:])


@keras.saving.register_keras_serializable("keras_ae")
class Conv2DTranspose(_FastPath, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, the same function with the same weights, faster on a CPU on JAX and torch.

    >>> Conv2DTranspose(8, 4, strides=2, padding="same")(keras.Input((5, 5, 3))).shape
    (None, 10, 10, 8)
    """

    is_plain = True
    groups = 1
    _operation = staticmethod(backends.conv2d_transpose)

    def scratch(self, inputs, outputs) -> int:
        """On JAX a tile of the output for each place of the image, of whole strides, twice."""
        tile = math.prod(
            -(-size // stride) * stride for size, stride in zip(self.kernel_size, self.strides, strict=True)
        )
        return 2 * math.prod(inputs[0][1:3]) * tile * self.filters

    def _fast(self, inputs):
        return super()._fast(inputs) if self.output_padding is None else None
