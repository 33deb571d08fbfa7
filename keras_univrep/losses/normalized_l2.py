"""Squared distance between the directions of two feature vectors, position by position."""

from typing import Any

import keras
from keras import ops

from keras_univrep.losses._features import (
    at_least_float32,
    check_axis,
    check_rank,
    check_same_shape,
    mean_per_sample,
    positive_axis,
    unit_vectors,
)
from keras_univrep.types import Tensor

POSITIONS = ("mean", "sum")


@keras.saving.register_keras_serializable(package="keras_univrep")
class NormalizedL2(keras.losses.Loss):
    """Squared L2 distance between channel vectors of unit length.

    Equation:
        li2022 eq. 4

            l_f(m, s) = sum_w sum_h sum_c (m_chw / ||m_.hw|| - s_chw / ||s_.hw||)^2

        | symbol | here | shape |
        |---|---|---|
        | m | `student`: universal features after the adapter of the task | (batch, h, w, c) |
        | s | `teacher`: features of the network of that task | (batch, h, w, c) |

    Differences:
        The paper sums over positions, its released code averages over them; the numbers come from
        the code, so `positions="mean"` is the default and `positions="sum"` is the equation. The
        norm is sqrt(sum of squares + 1e-12), so that a zero vector has a finite gradient.

    Args:
        normalize: Whether to divide each channel vector by its L2 norm. With `False` this is the
            plain squared distance. Defaults to `True`.
        positions: `"mean"` or `"sum"` over the positions of an image. Defaults to `"mean"`.
        axis: Channel axis, -1 or 1. Defaults to -1.
        reduction: As in `keras.losses.Loss`: over the batch.
        name: Name of the loss. Defaults to `"normalized_l2"`.
        dtype: Dtype of the result; the computation is in float32 or float64.

    Call arguments:
        teacher: Features `(batch, ..., channels)`, dimensionless.
        student: Features of the same shape.
        sample_weight: `None`, a scalar or `(batch,)`.

    Returns:
        A scalar (`(batch,)` with `reduction=None`), in [0, 4] per position when normalised.

    Raises:
        ValueError: For teacher and student of different shapes, a channel axis that is the batch
            axis, or an unknown `positions`.
        TypeError: For an axis that is no integer.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import NormalizedL2
        >>> teacher = np.array([[3.0, 0.0], [0.0, 2.0]])
        >>> student = np.array([[0.0, 5.0], [0.0, 1.0]])
        >>> round(float(NormalizedL2()(teacher, student)), 5)
        1.0

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 4.1.
    """

    def __init__(
        self,
        normalize: bool = True,
        positions: str = "mean",
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "normalized_l2",
        dtype: Any = None,
    ) -> None:
        if positions not in POSITIONS:
            raise ValueError(
                f"`positions` must be one of {POSITIONS}. Received: positions={positions!r}. "
                'Pass "sum" for the equation of the paper, "mean" for its released code.'
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.normalize = bool(normalize)
        self.positions = positions
        self.axis = check_axis(axis)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        check_rank("NormalizedL2", 2, "(batch, ..., channels)", y_true, y_pred)
        check_same_shape("NormalizedL2", y_true, y_pred)
        axis = positive_axis(self.axis, len(y_pred.shape))
        s, m = at_least_float32(y_true), at_least_float32(y_pred)
        if self.normalize:
            s, m = unit_vectors(s, axis), unit_vectors(m, axis)
        distances = ops.sum(ops.square(m - s), axis=axis)
        if self.positions == "mean":
            return mean_per_sample(distances)
        return ops.sum(distances, axis=tuple(range(1, len(distances.shape))))  # li2022 eq. 4

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "normalize": self.normalize,
            "positions": self.positions,
            "axis": self.axis,
            "dtype": self.dtype,
        }
