"""How alike two sets of vectors are."""

import math
from typing import Any

from keras import ops

from keras_univrep.types import Tensor

SIMILARITIES = ("cosine", "euclidean", "dot", "correlation")


def check_similarity(name: str, value: Any, known: tuple[str, ...] = SIMILARITIES) -> str:
    """The name of a similarity, or an error that lists those there are."""
    if value not in known:
        raise ValueError(
            f"`{name}` must be one of {list(known)}. Received: {name}={value!r}. "
            "Pass one of these names."
        )
    return value


def unit_vectors(x: Tensor) -> Tensor:
    """Divides by the norm, whatever its size; the zero vector stays, with a finite gradient."""
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(ops.where(squared > 0.0, squared, ops.ones_like(squared)))


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosines of all pairs: (..., m, channels) and (..., n, channels) give (..., m, n)."""
    return ops.matmul(unit_vectors(x), ops.swapaxes(unit_vectors(y), -1, -2))


def similarity(kind: str, x: Tensor, y: Tensor, present: Tensor) -> Tensor:
    """Similarities of all pairs, the higher the more alike.

    Args:
        kind: One of `SIMILARITIES`; `"euclidean"` is minus the squared distance.
        x: (..., m, channels).
        y: (..., n, channels).
        present: One for a row of `y` that counts, zero for padding, (..., n).

    Returns:
        Tensor of shape (..., m, n), minus infinity in the columns of padding.
    """
    return ops.where(present[..., None, :] > 0.0, _similarity(kind, x, y, present), -math.inf)


def _similarity(kind: str, x: Tensor, y: Tensor, present: Tensor) -> Tensor:
    if kind == "dot":
        return ops.matmul(x, ops.swapaxes(y, -1, -2))
    if kind == "cosine":
        return cosine(x, y)
    if kind == "correlation":
        return cosine(*(z - ops.mean(z, axis=-1, keepdims=True) for z in (x, y)))
    # About their common centre, where the squares are small and little cancels.
    shares = present / ops.sum(present, axis=-1, keepdims=True)
    centre = ops.matmul(shares[..., None, :], y)
    x, y = x - centre, y - centre
    squares = ops.sum(ops.square(x), axis=-1)[..., :, None]
    squares = squares + ops.sum(ops.square(y), axis=-1)[..., None, :]
    return 2.0 * ops.matmul(x, ops.swapaxes(y, -1, -2)) - squares
