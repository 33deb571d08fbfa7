"""Angle between predicted and true surface normals."""

import math
from typing import Any

import keras
from keras import ops

from keras_univrep.metrics._pixels import (
    accumulate,
    add_sums,
    check_maps,
    count,
    measured,
    pixel_weights,
    quotient,
    weighted_sum,
)
from keras_univrep.types import Tensor

RESOLUTION = 0.01
"""Width in degrees of the bins from which the median is read."""
BINS = round(180.0 / RESOLUTION)


@keras.saving.register_keras_serializable(package="keras_univrep")
class NormalError(keras.metrics.Metric):
    """Mean or median angle to the true normals of a data set, or the share of small angles.

    Equation:
        li2022 tables 1 and 3, the column mErr

            mErr = 1 / |V| sum_{n in V} angle_n,  angle_n = arccos(p_n . g_n)

        | symbol | here | shape |
        |---|---|---|
        | p | predictions | (images, h, w, 3) |
        | g | targets | (images, h, w, 3) |
        | V | pixels of the data set whose target is not the zero vector | |

    Differences:
        The angle is that of the directions, arctan(|p x g| / p . g), which is right for small
        angles and other lengths too; a prediction of zero has none and counts as 90 degrees. The
        median of the released code needs all angles at once; here it is read from a histogram of
        the data set with bins of 0.01 degrees, so it is right to 0.005. A mean of the errors of
        single images or batches is another number.

    Args:
        statistic: `"mean"`, `"median"`, or an angle in (0, 180] degrees for the share of pixels
            with a smaller one; the literature uses 11.25, 22.5 and 30. Defaults to `"mean"`.
        name: Name of the metric. Defaults to `"normal_mean"`, `"normal_median"` or, say,
            `"normal_within_11.25"`.
        dtype: As in `keras.metrics.Metric`; angles are computed and summed in float32, with what
            that rounds off.

    Call arguments:
        y_true: Normals `(batch, h, w, 3)`, zero where unknown.
        y_pred: Normals `(batch, h, w, 3)`, in any floating precision.
        sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.

    Returns:
        A scalar, whatever way the data set is split into batches: degrees for mean and median, per
        cent for a share; NaN before the first known normal.

    Raises:
        ValueError: For an unknown statistic, maps of other ranks or of different sizes, or weights
            that do not fit them.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.metrics import NormalError
        >>> target = np.array([[[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]]])
        >>> prediction = np.array([[[[0.0, 0.6, 0.8], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]])
        >>> for statistic in ("mean", "median", 11.25):
        ...     metric = NormalError(statistic)
        ...     metric.update_state(target, prediction)
        ...     round(float(metric.result()), 1)
        18.4
        18.4
        50.0

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """

    def __init__(
        self, statistic: str | float = "mean", name: str | None = None, dtype: Any = None
    ) -> None:
        number = isinstance(statistic, (int, float)) and not isinstance(statistic, bool)
        if statistic not in ("mean", "median") and not (number and 0.0 < float(statistic) <= 180.0):
            raise ValueError(
                "`statistic` must be 'mean', 'median' or an angle in (0, 180] degrees. "
                f"Received: statistic={statistic!r}. Pass 11.25 for the share of pixels within it."
            )
        default = f"normal_{f'within_{statistic}' if number else statistic}"
        super().__init__(name=name or default, dtype=dtype)
        self.statistic = statistic
        self.sums = add_sums(self, BINS if statistic == "median" else 2)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        """Adds the angles of a batch.

        Args:
            y_true: Normals `(batch, h, w, 3)`.
            y_pred: Normals `(batch, h, w, 3)`.
            sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.
        """
        y_true, y_pred = (ops.convert_to_tensor(y, dtype="float32") for y in (y_true, y_pred))
        check_maps("NormalError", y_true, y_pred, (3,), 3)
        weights = pixel_weights("NormalError", measured(y_true), sample_weight)
        angles = _degrees(y_pred, y_true)
        if self.statistic == "median":
            bad = ops.isnan(angles)
            bins = ops.cast(ops.floor(ops.where(bad, 0.0, angles) / RESOLUTION), "int32")
            weights = ops.where(ops.logical_and(bad, weights != 0), angles, weights)
            accumulate(self.sums, count(weights, ops.minimum(bins, BINS - 1), BINS))
            return
        if self.statistic != "mean":
            smaller = ops.cast(angles < float(self.statistic), "float32")
            # No comparison is true of NaN, which must not pass for a large angle.
            angles = 100.0 * ops.where(ops.isnan(angles), angles, smaller)
        sums = [weighted_sum(angles, weights), ops.sum(weights)]
        accumulate(self.sums, ops.stack(sums))

    def result(self) -> Tensor:
        """Returns the statistic of all pixels so far, a scalar."""
        sums = self.sums[0] + self.sums[1]
        if self.statistic != "median":
            return quotient(sums[0], sums[1])  # li2022 table 1, mErr
        below = ops.cumsum(sums)
        half = below[-1] / 2.0
        # The bins of the two pixels in the middle; the same one unless a gap lies between them.
        lower = ops.sum(ops.cast(below < half, "float32"))
        upper = ops.sum(ops.cast(below <= half, "float32"))
        median = RESOLUTION * ((lower + upper) / 2.0 + 0.5)
        return quotient(median * below[-1], below[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "statistic": self.statistic}


def _degrees(first: Tensor, second: Tensor) -> Tensor:
    """Angles between vectors (..., 3) of any length, by their cross and inner products."""
    a, b = _of_size_one(first), _of_size_one(second)
    x, y, z = (a[..., i] * b[..., j] - a[..., j] * b[..., i] for i, j in ((1, 2), (2, 0), (0, 1)))
    sine, cosine = ops.sqrt(x * x + y * y + z * z), ops.sum(a * b, axis=-1)
    angles = ops.arctan2(sine, cosine) * (180.0 / math.pi)
    none = ops.logical_and(sine == 0, cosine == 0)
    return ops.where(none, 90.0, angles)


def _of_size_one(vectors: Tensor) -> Tensor:
    # Otherwise the squares of very short or long vectors leave the range of float32.
    largest = ops.max(ops.abs(vectors), axis=-1, keepdims=True)
    return vectors / ops.where(largest == 0, ops.ones_like(largest), largest)
