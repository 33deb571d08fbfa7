"""The fixed inputs on which the released code of the papers was run once to get golden numbers."""

from __future__ import annotations

import numpy as np


def golden_x(rows: int = 8, columns: int = 5) -> np.ndarray:
    """X_ij = sin(0.7 i + 1.3 j + 0.1 i j), float64 `(rows, columns)`."""
    i, j = np.arange(rows)[:, None], np.arange(columns)[None, :]
    return np.sin(0.7 * i + 1.3 * j + 0.1 * i * j)


def golden_y(rows: int = 8, columns: int = 5) -> np.ndarray:
    """Y_ij = cos(0.3 i + 0.9 j + 0.05 i j), float64 `(rows, columns)`."""
    i, j = np.arange(rows)[:, None], np.arange(columns)[None, :]
    return np.cos(0.3 * i + 0.9 * j + 0.05 * i * j)


def golden_map(frequency: float, shape: tuple[int, int, int, int]) -> np.ndarray:
    """sin(k n + 0.3) over the flat index n in the order (batch, channel, row, column).

    Returned channels last, `(batch, height, width, channels)`; `shape` is
    `(batch, channels, height, width)`.
    """
    flat = np.sin(frequency * np.arange(np.prod(shape)) + 0.3)
    return flat.reshape(shape).transpose(0, 2, 3, 1)
