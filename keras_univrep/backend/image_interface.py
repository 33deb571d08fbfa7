"""Operations on maps of features: convolution and pooling, with what they promise."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_univrep.backend.base import Padding, centre_tap, pad_spatial
from keras_univrep.backend.interface import implementation
from keras_univrep.types import Tensor

# What positions are counted in: what the backend's own operations take.
INDEX_DTYPE = "int64" if keras.backend.backend() == "torch" else "int32"


def convolution(
    inputs: Tensor,
    kernel: Tensor,
    adapter: Tensor | None = None,
    strides: Sequence[int] = (1,),
    padding: int | Padding = "valid",
    dilation: Sequence[int] = (1,),
    kernel_trains: bool = True,
    bias: Tensor | None = None,
) -> Tensor:
    """A convolution, with or without a parallel residual adapter, in the backend's fastest form.

    Equation:
        rebuffi2018, section 3.1.2, where `diag_L` puts alpha on the centre tap of zeros:

            y = (f + diag_L(alpha)) * x

        One convolution gives the sum of both. While f is frozen the gradient of alpha is taken at
        the centre tap alone, a matrix product in place of the gradient of all taps.

    Args:
        inputs: x, (batch, *spatial, channels), of one to three spatial axes.
        kernel: f, (*kernel_size, channels / groups, filters).
        adapter: alpha, (*1, channels / groups, filters), or None. Needs odd kernel sizes.
        strides: One number for all axes, or one for each.
        padding: "valid" or "same" (Keras's, which pads an even image on one side at stride 2); or
            how many zeros stand at both ends of an axis, one number for all axes or one for each.
        dilation: One number for all axes, or one for each.
        kernel_trains: Whether the gradient of `kernel` is going to be used. Only the cost depends
            on it: the gradients are right either way.
        bias: (filters,), or None. PyTorch adds it in passing.

    Returns:
        Tensor of shape (batch, *spatial, filters).

    Example:

    >>> import numpy as np
    >>> from keras_univrep import backend
    >>> x, f = np.ones((1, 5, 5, 2), "float32"), np.ones((3, 3, 2, 4), "float32")
    >>> alpha = np.ones((1, 1, 2, 4), "float32")
    >>> y = backend.convolution(x, f, alpha)
    >>> tuple(y.shape), float(y[0, 0, 0, 0])  # 2 * 9 taps, and 2 of the adapter
    ((1, 3, 3, 4), 20.0)
    """
    inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(kernel)
    bias = None if bias is None else ops.convert_to_tensor(bias)
    rank = len(kernel.shape) - 2
    strides, dilation = _each_axis(strides, rank), _each_axis(dilation, rank)
    if not isinstance(padding, str):
        zeros = _each_axis(padding, rank)
        padding = zeros if any(zeros) else "valid"
        reach = [d * (size - 1) for d, size in zip(dilation, kernel.shape[:-2], strict=True)]
        if any(zeros) and max(strides) == 1 and [2 * count for count in zeros] == reach:
            padding = "same"
    if max(strides) > 1 and max(kernel.shape[:-2]) == 1:
        # What a 1x1 convolution steps over can as well be left out. oneDNN, under TensorFlow 2.21
        # and PyTorch 2.13, crashes in the backward pass of some such convolutions.
        if not isinstance(padding, str):
            inputs, padding = pad_spatial(inputs, padding), "valid"
        inputs = inputs[(slice(None), *(slice(None, None, stride) for stride in strides))]
        strides = (1,) * rank
    if adapter is None:
        return implementation.convolution(inputs, kernel, strides, padding, dilation, bias)
    adapter = ops.convert_to_tensor(adapter)
    # On a strided grid "same" depends on the image's size, and the transposed convolution of
    # groups has no kernel on every device: those cases leave the gradient to the framework.
    grouped = kernel.shape[-2] != inputs.shape[-1]
    # So does a padding that puts the centre tap outside the image.
    plain = (padding == "same" and max(strides) > 1) or (
        not isinstance(padding, str)
        and any(
            zeros > d * (size - 1) // 2
            for zeros, d, size in zip(padding, dilation, kernel.shape[:-2], strict=True)
        )
    )
    if grouped or plain or rank != 2:
        fused = kernel + centre_tap(adapter, kernel.shape[:-2])
        return implementation.convolution(inputs, fused, strides, padding, dilation, bias)
    outputs = implementation.adapted_convolution(
        inputs, kernel, adapter, strides, padding, dilation, kernel_trains
    )
    return outputs if bias is None else outputs + bias


def average_pool(inputs: Tensor, size: int) -> Tensor:
    """Mean over windows side by side; what is left at the end of an axis is dropped.

    Args:
        inputs: (batch, height, width, channels).
        size: Height and width of a window, and the stride.

    Returns:
        Tensor of shape (batch, height // size, width // size, channels).

    Example:

    >>> import numpy as np
    >>> from keras_univrep import backend
    >>> float(backend.average_pool(np.arange(4.0).reshape(1, 2, 2, 1), 2)[0, 0, 0, 0])
    1.5
    """
    return implementation.average_pool(ops.convert_to_tensor(inputs), size)


def max_pool(inputs: Tensor, size: int) -> Tensor:
    """Maximum of windows side by side; what is left at the end of an axis is dropped.

    Args:
        inputs: (batch, height, width, channels).
        size: Height and width of a window, and the stride.

    Returns:
        Tensor of shape (batch, height // size, width // size, channels).

    Example:

    >>> import numpy as np
    >>> from keras_univrep import backend
    >>> float(backend.max_pool(np.arange(4.0).reshape(1, 2, 2, 1), 2)[0, 0, 0, 0])
    3.0
    """
    return implementation.max_pool(ops.convert_to_tensor(inputs), size)


def max_pool_with_indices(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of each 2x2 window and where it was; an odd row or column at the end is dropped.

    Args:
        inputs: (batch, height, width, channels), floating.

    Returns:
        Outputs (batch, height // 2, width // 2, channels), and integers of the same shape: row *
        (2 * (width // 2)) + column of the first pixel that holds the maximum. A window with a NaN
        gives NaN. All of the gradient goes to the pixel that was taken.

    Example:

    >>> import numpy as np
    >>> from keras_univrep import backend
    >>> x = np.array([[1.0, 3.0], [3.0, 2.0]], "float32").reshape(1, 2, 2, 1)
    >>> outputs, indices = backend.max_pool_with_indices(x)
    >>> float(outputs[0, 0, 0, 0]), int(indices[0, 0, 0, 0])
    (3.0, 1)
    """
    inputs = ops.convert_to_tensor(inputs)
    height, width = inputs.shape[1:3]
    # Positions are counted on an even map, so that unpooling need not know what was dropped.
    if height is None or width is None or height % 2 or width % 2:
        height, width = ops.shape(inputs)[1:3]
        inputs = inputs[:, : height - height % 2, : width - width % 2]
    return implementation.max_pool_with_indices(inputs)


def max_unpool(inputs: Tensor, indices: Tensor) -> Tensor:
    """Values put back where their maxima were, with zeros elsewhere.

    Args:
        inputs: (batch, height, width, channels).
        indices: Integers of the same shape, from `max_pool_with_indices`.

    Returns:
        Tensor of shape (batch, 2 height, 2 width, channels).

    Example:

    >>> import numpy as np
    >>> from keras_univrep import backend
    >>> x, indices = np.full((1, 1, 1, 1), 5.0, "float32"), np.full((1, 1, 1, 1), 2)
    >>> pixels = ops.reshape(backend.max_unpool(x, indices), (4,))
    >>> [float(pixel) for pixel in pixels]
    [0.0, 0.0, 5.0, 0.0]
    """
    inputs, indices = ops.convert_to_tensor(inputs), ops.convert_to_tensor(indices)
    return implementation.max_unpool(inputs, ops.cast(indices, INDEX_DTYPE))


def _each_axis(value: Sequence[int] | int, rank: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * rank if len(values) == 1 else values
