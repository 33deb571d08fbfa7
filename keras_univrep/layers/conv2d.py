"""A convolution that does not copy its inputs on PyTorch, and pads as PyTorch's does."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` by `backend.convolution`, with the same weights and results.

    On PyTorch Keras copies the images to channels first and the result back at each call; this
    layer computes on the channels-last memory as it lies. With a number as `padding` it pads as
    PyTorch's convolution does: Keras's "same" pads an even image on one side only at stride 2, and
    so samples another grid.

    Equation:
        For each output position p, over the taps q of the kernel:

            y_p = sum_q x_(stride p + dilation q) f_q + b

        | symbol | here | shape |
        |---|---|---|
        | x, y | `inputs`, outputs | (batch, height, width, channels), (..., filters) |
        | f, b | `kernel`, `bias` | (*kernel_size, channels / groups, filters), (filters,) |

    Args:
        filters: As for `keras.layers.Conv2D`.
        kernel_size: As for `keras.layers.Conv2D`.
        strides: As for `keras.layers.Conv2D`.
        padding: `"valid"`, `"same"`, or how many zeros stand at both ends of the image's axes, one
            number or one for height and one for width.
        **kwargs: As for `keras.layers.Conv2D`.

    Call arguments:
        inputs: Tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of shape (batch, new height, new width, filters).

    Raises:
        ValueError: If a number of zeros is negative, or comes with channels first.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import Conv2D
        >>> tuple(Conv2D(8, 3)(np.ones((2, 5, 5, 3), "float32")).shape)
        (2, 3, 3, 8)
        >>> tuple(Conv2D(8, 3, strides=2, padding=1)(np.ones((2, 6, 6, 3), "float32")).shape)
        (2, 3, 3, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = "valid",
        **kwargs: Any,
    ) -> None:
        zeros = None
        if not isinstance(padding, str):
            zeros = tuple(padding) if isinstance(padding, (list, tuple)) else (padding, padding)
        super().__init__(
            filters, kernel_size, strides, padding if zeros is None else "valid", **kwargs
        )
        if zeros is None:
            return
        if len(zeros) != 2 or any(not isinstance(count, int) or count < 0 for count in zeros):
            raise ValueError(
                "`padding` must be 'valid', 'same', or how many zeros stand at both ends of height "
                f"and width. Received: padding={padding!r}. Pass a whole number, or two."
            )
        if self.data_format != "channels_last":
            raise ValueError(
                "Zeros are counted for channels-last images only. Received: "
                f"padding={padding!r}, data_format={self.data_format!r}. "
                "Pass data_format='channels_last'."
            )
        self.padding = zeros

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if isinstance(self.padding, str):
            return super().compute_output_shape(input_shape)
        sizes = tuple(
            size and (size + 2 * zeros - dilation * (taps - 1) - 1) // stride + 1
            for size, zeros, dilation, taps, stride in zip(
                input_shape[1:-1],
                self.padding,
                self.dilation_rate,
                self.kernel_size,
                self.strides,
                strict=True,
            )
        )
        return (input_shape[0], *sizes, self.filters)

    def call(self, inputs: Tensor) -> Tensor:
        whole = type(self).convolution_op is Conv2D.convolution_op
        if not self.use_bias or self.data_format != "channels_last" or not whole:
            return super().call(inputs)
        outputs = backend.convolution(
            *(inputs, self.kernel, None, self.strides, self.padding, self.dilation_rate),
            bias=ops.convert_to_tensor(self.bias),
        )
        return outputs if self.activation is None else self.activation(outputs)

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolves; Keras's hook, without bias and activation."""
        if self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
        return backend.convolution(
            inputs, kernel, None, self.strides, self.padding, self.dilation_rate
        )
