"""Convolutions with a fast path where the stock operation is slow."""

import keras
from keras import ops

from keras_ae import backends


@keras.saving.register_keras_serializable("keras_ae")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, the same function with the same weights, faster on JAX on a CPU.

    There the gradient of the stock operation falls back to a naive loop. One matrix product, whose
    kernel-sized patches are added where they overlap, takes its place.
    """

    def call(self, inputs):
        if not (backends.SLOW_CONV_TRANSPOSE and self._has_fast_path()):
            return super().call(inputs)
        outputs = overlap_add(inputs, ops.convert_to_tensor(self.kernel), self.strides[0], self.padding)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)

    def _has_fast_path(self) -> bool:
        return (
            self.data_format == "channels_last"
            and self.output_padding is None
            and tuple(self.dilation_rate) == (1, 1)
            and self.strides[0] == self.strides[1]
            and self.kernel_size[0] == self.kernel_size[1]
        )


def overlap_add(x, kernel, stride: int, padding: str):
    """Transposed convolution of x (batch, h, w, in) with kernel (k, k, out, in) as one matrix product.

    Every input pixel becomes a patch of k x k outputs; patches stand `stride` apart and are added
    where they overlap. With k padded to `blocks` x stride, this is a sum of `blocks` x `blocks`
    shifted grids of stride-sized tiles, put together by one reshape.
    """
    batch, (height, width) = ops.shape(x)[0], x.shape[1:3]
    size, out_channels, in_channels = kernel.shape[1:]
    blocks = -(-size // stride)
    kernel = ops.pad(kernel, [(0, blocks * stride - size)] * 2 + [(0, 0)] * 2)
    kernel = ops.reshape(kernel, (blocks, stride, blocks, stride * out_channels, in_channels))
    # columns ordered (block row, block column, row in tile, column in tile, channel)
    kernel = ops.reshape(ops.transpose(kernel, (4, 0, 2, 1, 3)), (in_channels, -1))
    tiles = ops.reshape(
        ops.matmul(ops.reshape(x, (-1, in_channels)), kernel),
        (batch, height, width, blocks, blocks, stride * stride * out_channels),
    )
    rows, columns = height + blocks - 1, width + blocks - 1
    grid = sum(
        ops.pad(tiles[:, :, :, i, j], [(0, 0), (i, blocks - 1 - i), (j, blocks - 1 - j), (0, 0)])
        for i in range(blocks)
        for j in range(blocks)
    )
    grid = ops.reshape(grid, (batch, rows, columns, stride, stride, out_channels))
    full = ops.reshape(ops.transpose(grid, (0, 1, 3, 2, 4, 5)), (batch, rows * stride, columns * stride, out_channels))
    if padding == "valid":
        top, out_height, out_width = 0, height * stride + max(size - stride, 0), width * stride + max(size - stride, 0)
    else:
        top, out_height, out_width = max(size - stride, 0) // 2, height * stride, width * stride
    return full[:, top : top + out_height, top : top + out_width]
