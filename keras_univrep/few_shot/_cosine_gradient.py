"""Softmax of cosines to weighted class means, with the gradient of its cross-entropy by hand."""

from keras import ops

from keras_univrep.types import Tensor

# Less than any logit, and finite: the difference of two infinities would be NaN.
ABSENT = -1e9


def shares_of(one_hot: Tensor, weights: Tensor | None = None) -> Tensor:
    """Share of each sample in the mean of its class, (episodes, samples, classes).

    Args:
        one_hot: (episodes, samples, classes); rows of zeros are samples of no class.
        weights: (episodes, samples), or `None` for ones.

    Returns:
        Columns that sum to one, or of zeros where a class has no sample.
    """
    members = one_hot if weights is None else one_hot * weights[..., None]
    counts = ops.sum(members, axis=1, keepdims=True)
    return members / ops.where(counts > 0.0, counts, ops.ones_like(counts))


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of length one, and one over the lengths; a row of zeros stays."""
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    inverse = ops.rsqrt(ops.where(squared > 0.0, squared, ops.ones_like(squared)))
    return x * inverse, inverse


def cosine_logits(z: Tensor, shares: Tensor, scale: float) -> Tensor:
    """Scaled cosines to the class means, and `ABSENT` for classes without a sample.

    Args:
        z: (episodes, samples, channels).
        shares: As from `shares_of`.
        scale: Factor of the cosine.

    Returns:
        Tensor of shape (episodes, samples, classes).
    """
    means = ops.matmul(ops.swapaxes(shares, 1, 2), z)
    return _logits(_unit(z)[0], _unit(means)[0], shares, scale)


def cross_entropy_gradient(
    z: Tensor, one_hot: Tensor, shares: Tensor, weights: Tensor, scale: float
) -> Tensor:
    """Gradient of sum(weights ce(softmax(cosine_logits(z)), one_hot)) by z, means included.

    Args:
        z: (episodes, samples, channels).
        one_hot: (episodes, samples, classes).
        shares: As from `shares_of`.
        weights: (episodes, samples).
        scale: Factor of the cosine.

    Returns:
        Tensor of the shape of `z`.
    """
    rows, row_scale = _unit(z)
    columns, column_scale = _unit(ops.matmul(ops.swapaxes(shares, 1, 2), z))
    odds = ops.softmax(_logits(rows, columns, shares, scale), axis=-1)
    by_cosine = scale * weights[..., None] * (odds - one_hot)
    by_z = _through_unit(ops.matmul(by_cosine, columns), rows, row_scale)
    by_columns = ops.matmul(ops.swapaxes(by_cosine, 1, 2), rows)
    return by_z + ops.matmul(shares, _through_unit(by_columns, columns, column_scale))


def _logits(rows: Tensor, columns: Tensor, shares: Tensor, scale: float) -> Tensor:
    absent = ops.all(shares == 0.0, axis=1, keepdims=True)
    cosines = scale * ops.matmul(rows, ops.swapaxes(columns, 1, 2))
    return ops.where(absent, ABSENT, cosines)


def _through_unit(cotangent: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
    """Gradient by what `_unit` was given, from that by what it gave."""
    return scale * (cotangent - rows * ops.sum(rows * cotangent, axis=-1, keepdims=True))
