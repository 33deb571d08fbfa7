"""Share of outputs that are close enough to their labels."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class AccuracyWithin(keras.metrics.Metric):
    """Share of the numbers of all outputs that are within a threshold of their labels.

    Equation:
        lekkala2020 table 1, the column Acc of depth, vanishing point and normals:

            accuracy = 1/N sum_n [|p_n - g_n| <= threshold]

        | symbol | here | shape |
        |---|---|---|
        | p | predictions | (batch, ...) |
        | g | targets | (batch, ...) |
        | N | numbers of all samples | |

    Differences: None known. The paper prints the threshold, and neither the units of its labels nor
        whether a vector counts as one.

    Args:
        threshold: Largest error that counts as right, in the units of the targets.
        name: Name of the metric.
        dtype: As in `keras.metrics.Metric`.

    Call arguments:
        y_true: Targets, (batch, ...).
        y_pred: Predictions of the same shape.
        sample_weight: `None`, a scalar or (batch,).

    Returns:
        A scalar in [0, 1], whatever way the data set is split into batches; 0 before the first.

    Raises:
        ValueError: If the threshold is negative, or the shapes differ.

    Example:
        >>> from keras_univrep.metrics import AccuracyWithin
        >>> metric = AccuracyWithin(0.25)
        >>> metric.update_state([[0.0], [1.0]], [[0.125], [1.5]])
        >>> float(metric.result())
        0.5

    References:
        Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """

    def __init__(
        self, threshold: float = 1e-3, name: str = "accuracy_within", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if isinstance(threshold, bool) or not threshold >= 0:
            raise ValueError(
                f"`threshold` must not be negative. Received: threshold={threshold!r}. Pass 0.001 "
                "for that of the paper."
            )
        self.threshold = float(threshold)
        self.right = self.add_weight(shape=(), initializer="zeros", name="right")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        """Adds the outputs of a batch.

        Args:
            y_true: Targets, (batch, ...).
            y_pred: Predictions of the same shape.
            sample_weight: `None`, a scalar or (batch,).
        """
        y_true, y_pred = (ops.convert_to_tensor(y, dtype="float32") for y in (y_true, y_pred))
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if len(shapes[0]) != len(shapes[1]) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(*shapes)
        ):
            raise ValueError(
                "Targets and predictions must have the same shape. Received: "
                f"{shapes[0]} and {shapes[1]}. Reshape one of them."
            )
        right = ops.cast(ops.abs(y_pred - y_true) <= self.threshold, "float32")
        weights = ops.ones_like(right)
        if sample_weight is not None:
            weight = ops.convert_to_tensor(sample_weight, dtype="float32")
            if len(weight.shape):
                weight = ops.reshape(weight, (-1, *(1,) * (len(right.shape) - 1)))
            weights = weights * weight
        self.right.assign_add(ops.sum(right * weights))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Tensor:
        """Returns the share so far."""
        return self.right / ops.maximum(self.count, 1e-12)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}
