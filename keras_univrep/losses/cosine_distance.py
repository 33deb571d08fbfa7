"""One minus the cosine between two feature vectors, position by position."""

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


@keras.saving.register_keras_serializable(package="keras_univrep")
class CosineDistance(keras.losses.Loss):
    """One minus the cosine of the angle between channel vectors, averaged over positions.

    Equation:
        li2022 section 5.5, the cosine loss of tables 11 and 12

            l_f(m, s) = 1 - mean_hw sum_c m_chw s_chw / (||m_.hw|| ||s_.hw||)

        | symbol | here | shape |
        |---|---|---|
        | m | `student`: universal features after the adapter | (batch, h, w, c) |
        | s | `teacher`: features of the network of that task or domain | (batch, h, w, c) |

    Differences:
        None known. It is half of `NormalizedL2`, up to 1e-12 under the norms.

    Args:
        axis: Channel axis, -1 or 1. Defaults to -1.
        reduction: As in `keras.losses.Loss`: over the batch.
        name: Name of the loss. Defaults to `"cosine"`.
        dtype: Dtype of the result; the computation is in float32 or float64.

    Call arguments:
        teacher: Features `(batch, ..., channels)`, dimensionless.
        student: Features of the same shape.
        sample_weight: `None`, a scalar or `(batch,)`.

    Returns:
        A scalar in [0, 2] (`(batch,)` with `reduction=None`); 1 where one side is the zero vector.

    Raises:
        ValueError: For teacher and student of different shapes, or a channel axis that is the
            batch axis.
        TypeError: For an axis that is no integer.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import CosineDistance
        >>> round(float(CosineDistance()(np.array([[2.0, 0.0]]), np.array([[-1.0, 0.0]]))), 5)
        2.0

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.5.
    """

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.axis = check_axis(axis)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        check_rank("CosineDistance", 2, "(batch, ..., channels)", y_true, y_pred)
        check_same_shape("CosineDistance", y_true, y_pred)
        axis = positive_axis(self.axis, len(y_pred.shape))
        s = unit_vectors(at_least_float32(y_true), axis)
        m = unit_vectors(at_least_float32(y_pred), axis)
        return mean_per_sample(1.0 - ops.sum(m * s, axis=axis))  # li2022 section 5.5

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "dtype": self.dtype}
