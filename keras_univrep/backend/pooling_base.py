"""Formulas of pooling and unpooling for the backends that compile what is elementwise."""

from keras import ops

from keras_univrep.types import Tensor


def largest(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of each 2x2 window and its position, as `max_pool_with_indices` gives them."""
    first, second, third, fourth = _windows(inputs)
    above, right_above = _larger(first, second)
    below, right_below = _larger(third, fourth)
    outputs, lower = _larger(above, below)
    _, height, width, _ = ops.shape(outputs)
    right = ops.cast(ops.where(lower, right_below, right_above), "int32")
    offset = 2 * width * ops.cast(lower, "int32") + right
    return outputs, _corners(height, width) + offset


def place(inputs: Tensor, indices: Tensor) -> Tensor:
    """Each value at its position in a window of zeros, as `max_unpool` gives it."""
    batch, height, width, channels = ops.shape(inputs)
    offsets = ops.expand_dims(indices - _corners(height, width), (2, 4))
    rows, columns = (ops.expand_dims(ops.arange(2), axes) for axes in ((1, 2, 3), (0, 1, 3)))
    here = ops.equal(offsets, 2 * width * rows + columns)
    windows = ops.where(here, ops.expand_dims(inputs, (2, 4)), ops.zeros((), inputs.dtype))
    return ops.reshape(windows, (batch, 2 * height, 2 * width, channels))


def take(inputs: Tensor, indices: Tensor) -> Tensor:
    """The value at the position in each window: the transpose of `place`."""
    first, second, third, fourth = _windows(inputs)
    _, height, width, _ = ops.shape(indices)
    offsets = indices - _corners(height, width)
    above = ops.where(ops.equal(offsets, 0), first, second)
    below = ops.where(ops.equal(offsets, 2 * width), third, fourth)
    return ops.where(offsets < 2, above, below)


def _windows(inputs: Tensor) -> list[Tensor]:
    """The four pixels of each window, row by row, (batch, height / 2, width / 2, channels) each."""
    batch, height, width, channels = ops.shape(inputs)
    x = ops.reshape(inputs, (batch, height // 2, 2, width // 2, 2, channels))
    return [x[:, :, row, :, column] for row in range(2) for column in range(2)]


def _larger(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of two, and whether it is the second: never at a tie, always where it is NaN."""
    later = ops.logical_or(second > first, ops.not_equal(second, second))
    return ops.where(later, second, first), later


def _corners(height: int, width: int) -> Tensor:
    """Position of the first pixel of each window, (height, width, 1) int32."""
    rows, columns = (ops.arange(size, dtype="int32") for size in (height, width))
    return ops.expand_dims(4 * width * ops.expand_dims(rows, 1) + 2 * columns, 2)
