"""Cross-entropy of the classes of pixels."""

from typing import Any

import keras
from keras import ops

from keras_univrep.losses._pixels import check_maps, only, pixel_dtype, pixel_weights
from keras_univrep.types import Tensor

SMALLEST_PROBABILITY = 1e-7


@keras.saving.register_keras_serializable(package="keras_univrep")
class SegmentationCrossEntropy(keras.losses.Loss):
    """Cross-entropy of the class of each pixel, averaged over the labelled pixels of the batch.

    Equation:
        li2022 section 5.1, the loss of semantic segmentation on NYU-v2 and Cityscapes

            L = -1 / |V| sum_{n in V} log p_n(y_n),  p_n = softmax(z_n)

        | symbol | here | shape |
        |---|---|---|
        | z | `prediction`: logits | (batch, h, w, classes) |
        | y | `target`: labels | (batch, h, w) |
        | V | pixels of the batch whose label is not `ignore_label` | |

    Differences:
        None known. The average is over the pixels of the whole batch, so that an image counts by
        its labelled pixels; the released code does the same.

    Args:
        ignore_label: Label of pixels that do not count; `None` if all count. Defaults to -1.
        from_logits: Whether predictions are logits, or log-probabilities, which are logits too;
            with `False` they are probabilities, kept above 1e-7. Defaults to `True`.
        reduction: As in `keras.losses.Loss`, over the labelled pixels: `"sum_over_batch_size"`
            and `"mean"` divide the weighted sum by their number, `"mean_with_sample_weight"` by
            their weight, `"sum"` by nothing; `None` gives `(batch, h, w)`, 0 where none is.
        name: Name of the loss. Defaults to `"segmentation_cross_entropy"`.
        dtype: Dtype of computation and result: float32, also in place of anything narrower, or
            float64.

    Call arguments:
        target: Labels in [0, classes) or `ignore_label`, integers `(batch, h, w)`.
        prediction: `(batch, h, w, classes)`, in any floating precision.
        sample_weight: `None`, a scalar, `(batch,)` or `(batch, h, w)`.

    Returns:
        A scalar in nats. It is 0, with a gradient of 0, for a batch without labelled pixels, and
        NaN if a label is neither one of the classes nor `ignore_label`: a compiled step has no
        other way to tell.

    Raises:
        ValueError: For maps of other ranks or of different sizes, or weights that do not fit them.
        TypeError: For an `ignore_label` that is no integer.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import SegmentationCrossEntropy
        >>> target = np.array([[[0, 1], [-1, -1]]])
        >>> logits = np.zeros((1, 2, 2, 4))
        >>> round(float(SegmentationCrossEntropy()(target, logits)), 4)  # log 4
        1.3863

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """

    def __init__(
        self,
        ignore_label: int | None = -1,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "segmentation_cross_entropy",
        dtype: Any = None,
    ) -> None:
        if ignore_label is not None and (
            isinstance(ignore_label, bool) or not isinstance(ignore_label, int)
        ):
            raise TypeError(
                "`ignore_label` must be an integer or None. Received: "
                f"ignore_label={ignore_label!r} (of type {type(ignore_label).__name__}). "
                "Pass -1 or 255, as the data set has it."
            )
        super().__init__(name=name, reduction=reduction, dtype=pixel_dtype(dtype))
        self.ignore_label = ignore_label
        self.from_logits = bool(from_logits)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Tensor:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_maps("SegmentationCrossEntropy", y_true, y_pred, channels=None)
        weights = pixel_weights(
            "SegmentationCrossEntropy",
            self._labelled(ops.cast(y_true, "int32")),
            sample_weight,
            self.reduction,
            self.dtype,
        )
        return super().__call__(y_true, y_pred, weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, classes = ops.cast(y_true, "int32"), y_pred.shape[-1]
        valid = self._labelled(labels)
        y_pred = only(valid, y_pred)
        if self.from_logits:
            log_p = ops.log_softmax(y_pred, axis=-1)
        else:
            log_p = ops.log(ops.maximum(y_pred, SMALLEST_PROBABILITY))
        of_label = labels[..., None] == ops.arange(classes, dtype="int32")
        losses = -ops.sum(ops.where(of_label, log_p, ops.zeros_like(log_p)), axis=-1)
        known = ops.logical_and(labels >= 0, labels < classes)
        losses = ops.where(known, losses, float("nan"))
        return ops.where(valid, losses, ops.zeros_like(losses))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ignore_label": self.ignore_label,
            "from_logits": self.from_logits,
            "dtype": self.dtype,
        }

    def _labelled(self, labels: Tensor) -> Tensor:
        if self.ignore_label is None:
            return ops.ones_like(labels, dtype="bool")
        return labels != self.ignore_label
