"""Distance between the spatial attention maps of two feature maps."""

from typing import Any

import keras
from keras import ops

from keras_univrep.losses._features import (
    at_least_float32,
    check_axis,
    check_rank,
    check_same_shape,
    positive_axis,
    unit_vectors,
)
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class AttentionTransfer(keras.losses.Loss):
    """Squared distance between normalised maps of where two networks are active.

    Equation:
        li2022 section 5.5, the AT loss of table 11

            Q(A) = vec(sum_c A_c^2),  l_f(m, s) = ||Q(m) / ||Q(m)|| - Q(s) / ||Q(s)|| ||^2

        | symbol | here | shape |
        |---|---|---|
        | m | `student`: universal features after the adapter of the task | (batch, h, w, c) |
        | s | `teacher`: features of the network of that task | (batch, h, w, c') |
        | Q | attention map, flattened | (batch, h w) |

    Differences:
        The distance of Zagoruyko and Komodakis is not squared in their text; in their released
        code it is squared and averaged over positions. Here it is squared, which has a gradient
        at zero, and summed, which does not depend on the resolution. The sum over channels may be
        read as a mean: the norm removes the factor.

    Args:
        axis: Channel axis, -1 or 1. Defaults to -1.
        reduction: As in `keras.losses.Loss`: over the batch.
        name: Name of the loss. Defaults to `"attention_transfer"`.
        dtype: Dtype of the result; the computation is in float32 or float64.

    Call arguments:
        teacher: Feature maps `(batch, height, width, channels)`, or with any number of spatial
            axes; dimensionless.
        student: Feature maps of the same height and width; the channels may differ.
        sample_weight: `None`, a scalar or `(batch,)`.

    Returns:
        A scalar in [0, 2] (`(batch,)` with `reduction=None`): attention maps are not negative.

    Raises:
        ValueError: For features without positions, for maps of different height or width, or a
            channel axis that is the batch axis.
        TypeError: For an axis that is no integer.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import AttentionTransfer
        >>> teacher = np.zeros((1, 2, 2, 3))
        >>> teacher[0, 0, 0] = 1.0
        >>> student = np.zeros((1, 2, 2, 5))
        >>> student[0, 1, 1] = -4.0
        >>> round(float(AttentionTransfer()(teacher, student)), 5)
        2.0

    References:
        - Zagoruyko and Komodakis, Paying More Attention to Attention, 2017.
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.5.
    """

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "attention_transfer",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.axis = check_axis(axis)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        check_rank("AttentionTransfer", 3, "(batch, height, width, channels)", y_true, y_pred)
        axis = positive_axis(self.axis, len(y_pred.shape))
        check_same_shape("AttentionTransfer", y_true, y_pred, except_axis=axis)
        difference = _attention(y_pred, axis) - _attention(y_true, axis)
        return ops.sum(ops.square(difference), axis=-1)  # li2022 section 5.5, AT

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "dtype": self.dtype}


def _attention(features: Tensor, axis: int) -> Tensor:
    # The largest value becomes 1: fourth powers of small activations would fall under the epsilon.
    x = at_least_float32(features)
    flat = ops.reshape(ops.mean(ops.square(x), axis=axis), (ops.shape(x)[0], -1))
    largest = ops.stop_gradient(ops.max(flat, axis=-1, keepdims=True))
    return unit_vectors(flat / ops.maximum(largest, 1e-30), axis=-1)
