"""Float64 NumPy versions of the operations that several layers share, channels last."""

from __future__ import annotations

import itertools

import numpy as np


def sampled_rows(
    size: int, taps: int, stride: int, dilation: int, padding: str | int
) -> np.ndarray:
    """Input position under each tap of the kernel, (outputs, taps); may lie outside the input.

    "same" is Keras's: ceil(size / stride) outputs, the odd row of padding at the end. A number is
    that of rows of zeros at both ends.
    """
    reach = dilation * (taps - 1) + 1
    if padding == "same":
        outputs = -(-size // stride)
        before = max((outputs - 1) * stride + reach - size, 0) // 2
    else:
        before = 0 if padding == "valid" else padding
        outputs = (size + 2 * before - reach) // stride + 1
    return np.arange(outputs)[:, None] * stride - before + np.arange(taps) * dilation


def gather(x: np.ndarray, *positions: np.ndarray) -> np.ndarray:
    """x (batch, *spatial, channels) at one position an output along each axis, zero outside."""
    for axis, rows in enumerate(positions, start=1):
        inside = (rows >= 0) & (rows < x.shape[axis])
        taken = np.take(x, np.clip(rows, 0, x.shape[axis] - 1), axis=axis)
        shape = [1] * x.ndim
        shape[axis] = len(rows)
        x = taken * inside.reshape(shape)
    return x


def grouped_product(x: np.ndarray, matrix: np.ndarray, groups: int) -> np.ndarray:
    """x (..., channels) times a matrix (channels / groups, filters), group by group."""
    parts = zip(np.split(x, groups, axis=-1), np.split(matrix, groups, axis=-1))
    return np.concatenate([part @ block for part, block in parts], axis=-1)


def convolution(
    x: np.ndarray,
    kernel: np.ndarray,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    padding: str | int = "valid",
) -> np.ndarray:
    """x (batch, *spatial, channels), kernel (*sizes, channels / groups, filters)."""
    sizes = kernel.shape[:-2]
    rows = [
        sampled_rows(size, taps, stride, dilation, padding)
        for size, taps in zip(x.shape[1:-1], sizes)
    ]
    outputs = 0.0
    for tap in itertools.product(*map(range, sizes)):
        under = gather(x, *(row[:, index] for row, index in zip(rows, tap)))
        outputs = outputs + grouped_product(under, kernel[tap], groups)
    return outputs


def centre_branch(
    x: np.ndarray,
    alpha: np.ndarray,
    sizes: tuple[int, ...],
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    padding: str | int = "valid",
) -> np.ndarray:
    """A 1x1 filter bank alpha (channels / groups, filters) on the centres of a convolution."""
    rows = [
        sampled_rows(size, taps, stride, dilation, padding)[:, taps // 2]
        for size, taps in zip(x.shape[1:-1], sizes)
    ]
    return grouped_product(gather(x, *rows), alpha, groups)


def normalization(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    moments: tuple[np.ndarray, np.ndarray] | None = None,
    epsilon: float = 1e-5,
) -> np.ndarray:
    """Batch normalisation with given moments (mean, variance), or with those of the batch."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = moments or (x.mean(axes), x.var(axes))
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta
