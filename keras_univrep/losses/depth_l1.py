"""Absolute error of depth."""

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
class DepthL1(keras.losses.Loss):
    """Absolute error of depth, averaged over the measured pixels of the batch.

    Equation:
        li2022 section 5.1, the loss of depth estimation on NYU-v2 and Cityscapes

            L = 1 / |V| sum_{n in V} |p_n - g_n|

        | symbol | here | shape |
        |---|---|---|
        | p | `prediction` | (batch, h, w, 1) |
        | g | `target` | (batch, h, w, 1) |
        | V | pixels of the batch whose target is not 0 | |

    Differences:
        None known. A target that is infinite or NaN is void as one of 0 is.

    Args:
        reduction: As in `keras.losses.Loss`, over the measured pixels: `"sum_over_batch_size"`
            and `"mean"` divide the weighted sum by their number, `"mean_with_sample_weight"` by
            their weight, `"sum"` by nothing; `None` gives `(batch, h, w)`, 0 where none is.
        name: Name of the loss. Defaults to `"depth_l1"`.
        dtype: Dtype of computation and result: float32, also in place of anything narrower, or
            float64.

    Call arguments:
        target: Depth in metres, or disparity, `(batch, h, w, 1)`; 0 where nothing was measured.
        prediction: The same for every pixel, in any floating precision.
        sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.

    Returns:
        A scalar in the unit of the target. It is 0, with a gradient of 0, for a batch without
        measured pixels.

    Raises:
        ValueError: For maps of other ranks or of different sizes, or weights that do not fit them.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import DepthL1
        >>> target = np.array([2.0, 4.0, 0.0, 0.0]).reshape(1, 2, 2, 1)
        >>> float(DepthL1()(target, np.ones((1, 2, 2, 1))))
        2.0

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "depth_l1",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=pixel_dtype(dtype))

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Tensor:
        y_true, y_pred = (ops.convert_to_tensor(y, dtype=self.dtype) for y in (y_true, y_pred))
        check_maps("DepthL1", y_true, y_pred, channels=1)
        weights = pixel_weights(
            "DepthL1", measured(y_true), sample_weight, self.reduction, self.dtype
        )
        return super().__call__(y_true, y_pred, weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        valid = measured(y_true)
        errors = only(valid, y_pred) - only(valid, y_true)
        # The gradient of `abs` at zero is 1 on JAX.
        return ops.sum(errors * ops.stop_gradient(ops.sign(errors)), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtype": self.dtype}
