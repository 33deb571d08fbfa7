"""One minus the cosine of the angle to the true surface normal."""

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
class NormalCosine(keras.losses.Loss):
    """One minus the product of predicted and true normal, averaged over the pixels of the batch.

    Equation:
        li2022 section 5.1, the loss of surface normal estimation on NYU-v2

            L = 1 - 1 / |V| sum_{n in V} p_n . g_n

        | symbol | here | shape |
        |---|---|---|
        | p | `prediction`: unit vectors | (batch, h, w, 3) |
        | g | `target`: unit vectors | (batch, h, w, 3) |
        | V | pixels of the batch whose target is not the zero vector | |

    Differences:
        The released code takes a normal for void whose components sum to zero; here all must be
        zero (or one infinite or NaN). As there, predictions are not normalised by the loss: the
        network's last layer does it.

    Args:
        reduction: As in `keras.losses.Loss`, over the pixels with a normal:
            `"sum_over_batch_size"` and `"mean"` divide the weighted sum by their number,
            `"mean_with_sample_weight"` by their weight, `"sum"` by nothing; `None` gives
            `(batch, h, w)`, 0 where none is.
        name: Name of the loss. Defaults to `"normal_cosine"`.
        dtype: Dtype of computation and result: float32, also in place of anything narrower, or
            float64.

    Call arguments:
        target: Unit vectors `(batch, h, w, 3)`, zero where the normal is unknown.
        prediction: Unit vectors `(batch, h, w, 3)`, in any floating precision.
        sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.

    Returns:
        A scalar in [0, 2] for unit vectors, dimensionless. It is 0, with a gradient of 0, for a
        batch without any known normal.

    Raises:
        ValueError: For maps of other ranks or of different sizes, or weights that do not fit them.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import NormalCosine
        >>> target = np.array([[[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]]])
        >>> prediction = np.array([[[[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]]]])
        >>> round(float(NormalCosine()(target, prediction)), 4)
        0.2

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "normal_cosine",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=pixel_dtype(dtype))

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Tensor:
        y_true, y_pred = (ops.convert_to_tensor(y, dtype=self.dtype) for y in (y_true, y_pred))
        check_maps("NormalCosine", y_true, y_pred, channels=3)
        weights = pixel_weights(
            "NormalCosine", measured(y_true), sample_weight, self.reduction, self.dtype
        )
        return super().__call__(y_true, y_pred, weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        valid = measured(y_true)
        cosines = ops.sum(only(valid, y_pred) * only(valid, y_true), axis=-1)
        return ops.where(valid, 1.0 - cosines, ops.zeros_like(cosines))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtype": self.dtype}
