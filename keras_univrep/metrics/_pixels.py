"""What the metrics on maps share: shape checks, weights of pixels, and sums over a data set."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor


def check_maps(metric: str, target: Tensor, prediction: Tensor, target_last: tuple[int, ...],
               last: int) -> None:  # fmt: skip
    """Refuses maps of other ranks, or whose known sizes differ.

    `target_last` are the channels of the target, () for labels; `last` those of the prediction.
    """
    first, second = tuple(target.shape), tuple(prediction.shape)
    fits = len(first) == 3 + len(target_last) and len(second) == 4
    if not fits or _differ(first, (*second[:3], *target_last)) or _differ(second[3:], (last,)):
        layout = ", ".join(["batch", "height", "width", *map(str, target_last)])
        raise ValueError(
            f"`{metric}` needs a target of shape ({layout}) and a prediction of shape (batch, "
            f"height, width, {last}), of the same size. Received: target shape={first}, "
            f"prediction shape={second}. Resize the prediction with `keras.ops.image.resize`; "
            "add or drop a last axis of 1 with `keras.ops.expand_dims` or `keras.ops.squeeze`."
        )


def measured(target: Tensor) -> Tensor:
    """Pixels of `(batch, h, w, channels)` with a finite target other than zero: `(batch, h, w)`."""
    finite = ops.all(ops.isfinite(target), axis=-1)
    return ops.logical_and(finite, ops.any(target != 0, axis=-1))


def pixel_weights(metric: str, valid: Tensor, sample_weight: Any) -> Tensor:
    """Weights `(batch, h, w)` in float32: 0 in the pixels that are not valid."""
    weights = ops.cast(valid, "float32")
    if sample_weight is None:
        return weights
    given = ops.convert_to_tensor(sample_weight, dtype="float32")
    shape, maps = tuple(given.shape), tuple(valid.shape)
    if not shape:
        return weights * given
    squeezed = shape[:3] if len(shape) == 4 and shape[3] == 1 else shape
    if len(squeezed) not in (1, 3) or _differ(squeezed, maps[: len(squeezed)]):
        raise ValueError(
            f"`{metric}` takes a `sample_weight` of shape (), (batch,) or (batch, height, width). "
            f"Received: sample_weight of shape {shape} for maps of shape {maps}. "
            "Give one weight to each image or to each pixel."
        )
    if len(shape) == 1:
        return weights * given[:, None, None]
    return weights * (given if len(shape) == 3 else given[..., 0])


def weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """Sum of what has a weight: a pixel of weight 0 may hold anything, NaN too."""
    return ops.sum(ops.where(weights != 0, values * weights, ops.zeros_like(weights)))


def count(weights: Tensor, cells: Tensor, number: int) -> Tensor:
    """Sum of the weights `(batch, h, w)` in each of `number` cells: `(number,)`."""
    # Keras's own `segment_sum` cannot infer shapes on PyTorch, with which Keras builds metrics.
    zeros, cells = ops.zeros((number,), dtype="float32"), ops.reshape(cells, (-1, 1))
    return ops.scatter_update(zeros, cells, ops.reshape(weights, (-1,)), reduction="add")


def add_sums(metric: keras.metrics.Metric, number: int) -> keras.Variable:
    """A variable for `number` sums over a data set, `(2, number)`: see `accumulate`."""
    return metric.add_variable(shape=(2, number), initializer="zeros", dtype="float32", name="sums")


def accumulate(sums: keras.Variable, values: Tensor) -> None:
    """Adds `(number,)` values to the sums, and what float32 rounds off to their second row.

    So a count stays exact beyond the 2^24 pixels at which float32 alone stops counting.
    """
    total, rest = sums[0], sums[1]
    rounded = total + values
    of_values = rounded - total
    lost = (total - (rounded - of_values)) + (values - of_values)
    rest = rest + lost
    total = rounded + rest
    sums.assign(ops.stack([total, rest - (total - rounded)]))


def is_true(condition: Tensor) -> bool:
    """Whether a scalar is known to be true; False in a compiled step, which knows no values."""
    try:
        return bool(ops.convert_to_numpy(condition))
    except (NotImplementedError, TypeError, ValueError):
        return False


def quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A ratio, NaN where the denominator is zero."""
    zero = denominator == 0
    ratio = numerator / ops.where(zero, ops.ones_like(denominator), denominator)
    return ops.where(zero, float("nan"), ratio)


def _differ(first: tuple[int | None, ...], second: tuple[int | None, ...]) -> bool:
    return any(
        a is not None and b is not None and a != b for a, b in zip(first, second, strict=True)
    )
