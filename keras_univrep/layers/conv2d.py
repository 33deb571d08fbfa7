"""A convolution that does not copy its inputs on PyTorch."""

import keras

from keras_univrep import backend
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` by `backend.convolution`, with the same weights and results.

    On PyTorch Keras copies the images to channels first and the result back at each call; this
    layer computes on the channels-last memory as it lies. On other backends nothing differs.

    Equation:
        For each output position p, over the taps q of the kernel:

            y_p = sum_q x_(stride p + dilation q) f_q + b

        | symbol | here | shape |
        |---|---|---|
        | x, y | `inputs`, outputs | (batch, height, width, channels), (..., filters) |
        | f, b | `kernel`, `bias` | (*kernel_size, channels / groups, filters), (filters,) |

    Args:
        *args: As for `keras.layers.Conv2D`.
        **kwargs: As for `keras.layers.Conv2D`.

    Call arguments:
        inputs: Tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of shape (batch, new height, new width, filters).

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import Conv2D
        >>> tuple(Conv2D(8, 3)(np.ones((2, 5, 5, 3), "float32")).shape)
        (2, 3, 3, 8)
    """

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolves; Keras's hook, without bias and activation."""
        if self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
        return backend.convolution(
            inputs, kernel, None, self.strides, self.padding, self.dilation_rate
        )
