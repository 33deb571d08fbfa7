"""Mean intersection over union of the classes of pixels."""

from typing import Any

import keras
from keras import ops

from keras_univrep.metrics._pixels import (
    accumulate,
    add_sums,
    check_maps,
    count,
    is_true,
    pixel_weights,
    quotient,
)
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MeanIoU(keras.metrics.Metric):
    """Intersection over union of each class over a whole data set, averaged over classes.

    Equation:
        li2022 tables 1 to 4, the column mIoU

            mIoU = mean_k M_kk / (sum_j M_kj + sum_j M_jk - M_kk)

        | symbol | here | shape |
        |---|---|---|
        | M_kj | labelled pixels of class k in which logit j is the largest | (classes, classes) |

    Differences:
        A class that is neither in the targets nor predicted does not count; in the released code
        it makes the mean NaN. A mean of the values of single images or batches is another number.

    Args:
        num_classes: Number of classes.
        ignore_label: Label of pixels that do not count; `None` if all count. Defaults to -1.
        name: Name of the metric. Defaults to `"mean_iou"`.
        dtype: As in `keras.metrics.Metric`; pixels are counted in float32, exactly up to 2^24 in
            a batch and 2^48 in all.

    Call arguments:
        y_true: Labels in [0, classes) or `ignore_label`, integers `(batch, h, w)`.
        y_pred: Logits `(batch, h, w, classes)`; probabilities do as well.
        sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.

    Returns:
        A scalar in [0, 1], whatever way the data set is split into batches; NaN before the first
        labelled pixel.

    Raises:
        ValueError: For maps of other ranks or of different sizes, another number of classes,
            weights that do not fit; or a label that is neither one of the classes nor
            `ignore_label`. A compiled step cannot raise for a label: the result is NaN then.
        TypeError: For numbers that are no integers.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.metrics import MeanIoU
        >>> metric = MeanIoU(num_classes=3)
        >>> target = np.array([[[0, 0], [1, -1]]])
        >>> metric.update_state(target, np.eye(3)[[[[0, 1], [1, 2]]]])
        >>> float(metric.result())  # 1/2 and 1/2; class 2 occurs in the void pixel alone
        0.5

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int | None = -1,
        name: str | None = "mean_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = _integer("num_classes", num_classes)
        self.ignore_label = None if ignore_label is None else _integer("ignore_label", ignore_label)
        if self.num_classes < 1:
            raise ValueError(
                f"`num_classes` must be positive. Received: num_classes={num_classes}. "
                "Pass the number of channels of the logits."
            )
        self.sums = add_sums(self, self.num_classes**2)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        """Counts the pixels of a batch.

        Args:
            y_true: Labels, integers `(batch, h, w)`.
            y_pred: Logits `(batch, h, w, classes)`.
            sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_maps("MeanIoU", y_true, y_pred, (), self.num_classes)
        labels = ops.cast(y_true, "int32")
        known = ops.logical_and(labels >= 0, labels < self.num_classes)
        labelled = ops.ones_like(known)
        if self.ignore_label is not None:
            labelled = labels != self.ignore_label
        wrong = ops.logical_and(labelled, ops.logical_not(known))
        if is_true(ops.any(wrong)):
            found = ops.convert_to_numpy(labels)[ops.convert_to_numpy(wrong)]
            raise ValueError(
                f"Labels must be in [0, {self.num_classes}) or ignore_label={self.ignore_label}. "
                f"Received: {sorted(set(found.tolist()))[:10]}. Pass the `ignore_label` of the "
                "data set, or the right `num_classes`."
            )
        weights = pixel_weights("MeanIoU", labelled, sample_weight)
        weights = ops.where(wrong, float("nan"), weights)
        predicted = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        used = ops.logical_and(labelled, known)
        cells = ops.where(used, labels * self.num_classes + predicted, 0)
        accumulate(self.sums, count(weights, cells, self.num_classes**2))

    def result(self) -> Tensor:
        """Returns the mean over the classes that occur, a scalar."""
        matrix = ops.reshape(self.sums[0] + self.sums[1], (self.num_classes, self.num_classes))
        both = ops.diagonal(matrix)
        either = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - both
        occurs = either != 0
        ratios = both / ops.where(occurs, either, ops.ones_like(either))
        number = ops.sum(ops.cast(occurs, "float32"))
        return quotient(ops.sum(ratios), number)  # li2022 table 1, mIoU

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
        }


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={value!r} "
            f"(of type {type(value).__name__}). Pass a Python int."
        )
    return value
