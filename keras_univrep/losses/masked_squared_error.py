"""Squared error of dense maps that are not known everywhere."""

from typing import Any

import keras
from keras import ops

from keras_univrep.losses._pixels import (
    check_maps,
    measured,
    only,
    pixel_dtype,
    pixel_weights,
)
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MaskedSquaredError(keras.losses.Loss):
    """Squared error of maps such as depth or normals, averaged over the known pixels of the batch.

    Equation:
        lekkala2020 section 5.1, the loss of depth and of surface normals

            L = 1 / (C |V|) sum_{n in V} ||p_n - g_n||^2

        | symbol | here | shape |
        |---|---|---|
        | p | `prediction` | (batch, h, w, C) |
        | g | `target` | (batch, h, w, C) |
        | V | pixels of the batch whose target is not 0 in each channel | |

    Differences:
        The paper says nothing of pixels without a label. A target that is infinite or NaN is void
        as one of 0 is.

    Args:
        reduction: As for `DepthL1`.
        name: Name of the loss. Defaults to `"masked_squared_error"`.
        dtype: Dtype of computation and result: float32, also in place of anything narrower, or
            float64.

    Call arguments:
        target: Maps `(batch, h, w, C)`; 0 in all channels where nothing is known.
        prediction: The same for every pixel, in any floating precision.
        sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.

    Returns:
        A scalar. It is 0, with a gradient of 0, for a batch without known pixels.

    Raises:
        ValueError: For maps of other ranks or of different sizes, or weights that do not fit them.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import MaskedSquaredError
        >>> target = np.array([2.0, 4.0, 0.0, 0.0]).reshape(1, 2, 2, 1)
        >>> float(MaskedSquaredError()(target, np.ones((1, 2, 2, 1))))
        5.0

    References:
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "masked_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=pixel_dtype(dtype))

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Tensor:
        y_true, y_pred = (ops.convert_to_tensor(y, dtype=self.dtype) for y in (y_true, y_pred))
        channels = y_true.shape[-1] if len(y_true.shape) else None
        check_maps("MaskedSquaredError", y_true, y_pred, channels=channels or 1)
        weights = pixel_weights(
            "MaskedSquaredError", measured(y_true), sample_weight, self.reduction, self.dtype
        )
        return super().__call__(y_true, y_pred, weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        valid = measured(y_true)
        return ops.mean(ops.square(only(valid, y_pred) - only(valid, y_true)), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtype": self.dtype}
