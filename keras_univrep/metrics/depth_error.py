"""Mean absolute or relative error of depth."""

from typing import Any

import keras
from keras import ops

from keras_univrep.metrics._pixels import (
    accumulate,
    add_sums,
    check_maps,
    measured,
    pixel_weights,
    quotient,
    weighted_sum,
)
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DepthError(keras.metrics.Metric):
    """Absolute or relative error of depth, averaged over the measured pixels of a data set.

    Equation:
        li2022 tables 1 to 4, the column aErr, and the relative error of the released code

            aErr = 1 / |V| sum_{n in V} |p_n - g_n|,  rErr = 1 / |V| sum_{n in V} |p_n - g_n| / g_n

        | symbol | here | shape |
        |---|---|---|
        | p | predictions | (images, h, w, 1) |
        | g | targets | (images, h, w, 1) |
        | V | pixels of the data set whose target is not 0 | |

    Differences:
        None known. A target that is infinite or NaN is void as one of 0 is. A mean of the errors
        of single images or batches is another number.

    Args:
        relative: Whether to divide each error by the true depth. Defaults to `False`.
        name: Name of the metric. Defaults to `"depth_error"`, or `"relative_depth_error"`.
        dtype: As in `keras.metrics.Metric`; errors are computed and summed in float32, with what
            that rounds off.

    Call arguments:
        y_true: Depth in metres, or disparity, `(batch, h, w, 1)`; 0 where nothing was measured.
        y_pred: The same for every pixel, in any floating precision.
        sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.

    Returns:
        A scalar in the unit of the target, or a fraction if relative, whatever way the data set is
        split into batches; NaN before the first measured pixel.

    Raises:
        ValueError: For maps of other ranks or of different sizes, or weights that do not fit them.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.metrics import DepthError
        >>> target = np.array([2.0, 4.0, 0.0, 0.0]).reshape(1, 2, 2, 1)
        >>> for relative in (False, True):
        ...     metric = DepthError(relative=relative)
        ...     metric.update_state(target, np.ones((1, 2, 2, 1)))
        ...     float(metric.result())
        2.0
        0.625

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """

    def __init__(self, relative: bool = False, name: str | None = None, dtype: Any = None) -> None:
        default = "relative_depth_error" if relative else "depth_error"
        super().__init__(name=name or default, dtype=dtype)
        self.relative = bool(relative)
        self.sums = add_sums(self, 2)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        """Adds the errors of a batch.

        Args:
            y_true: Depth `(batch, h, w, 1)`.
            y_pred: Depth `(batch, h, w, 1)`.
            sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.
        """
        y_true, y_pred = (ops.convert_to_tensor(y, dtype="float32") for y in (y_true, y_pred))
        check_maps("DepthError", y_true, y_pred, (1,), 1)
        weights = pixel_weights("DepthError", measured(y_true), sample_weight)
        errors = ops.abs(y_pred - y_true)
        if self.relative:
            errors = errors / ops.abs(ops.where(y_true == 0, ops.ones_like(y_true), y_true))
        sums = [weighted_sum(errors[..., 0], weights), ops.sum(weights)]
        accumulate(self.sums, ops.stack(sums))

    def result(self) -> Tensor:
        """Returns the mean over all pixels so far, a scalar."""
        sums = self.sums[0] + self.sums[1]
        return quotient(sums[0], sums[1])  # li2022 table 1, aErr

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "relative": self.relative}
