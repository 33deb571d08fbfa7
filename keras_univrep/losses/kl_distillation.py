"""Divergence of the student's softened predictions from those of the teacher."""

from typing import Any

import keras
from keras import ops

from keras_univrep.losses._features import (
    at_least_float32,
    check_positive,
    check_rank,
    mean_per_sample,
)
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class KLDistillation(keras.losses.Loss):
    """Kullback-Leibler divergence from teacher to student logits at a temperature.

    Equation:
        li2022 eq. 3, the term l_p

            l_p(y, y_s) = T^2 sum_k p_k (log p_k - log q_k),
            p = softmax(y_s / T), q = softmax(y / T)

        | symbol | here | shape |
        |---|---|---|
        | y_s | `teacher`: logits of the network of the domain | (batch, ..., classes) |
        | y | `student`: logits of the universal network | (batch, ..., classes) |
        | T | `temperature`, dimensionless | |

    Differences:
        The paper gives neither a temperature nor a scale. As in the released code, the sum over
        classes is averaged over the batch and multiplied by T^2; that code uses T = 8 for Visual
        Decathlon and T = 4 for Meta-Dataset.

    Args:
        temperature: Positive number that divides both logits. Defaults to `1.0`.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss. Defaults to `"kl"`.
        dtype: Dtype of the result; the computation is in float32 or float64.

    Call arguments:
        teacher: Logits `(batch, ..., classes)`. The gradient reaches it unless it is stopped.
        student: Logits of the same shape.
        sample_weight: `None`, a scalar or `(batch,)`.

    Returns:
        A scalar in nats, at least 0 (`(batch,)` with `reduction=None`; positions are averaged).

    Raises:
        ValueError: For a temperature that is not positive, or for logits of different shapes.
        TypeError: For a temperature that is no number.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import KLDistillation
        >>> loss = KLDistillation(temperature=4.0)
        >>> abs(float(loss(np.array([[2.0, 0.0]]), np.array([[3.0, 1.0]])))) < 1e-6
        True

    References:
        - Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
        - Li, Liu and Bilen, Universal Representations, 2022, section 4.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = check_positive("temperature", temperature)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        check_rank("KLDistillation", 2, "(batch, ..., classes)", y_true, y_pred)
        _check_same_classes(y_true, y_pred)
        log_p = ops.log_softmax(at_least_float32(y_true) / self.temperature, axis=-1)
        log_q = ops.log_softmax(at_least_float32(y_pred) / self.temperature, axis=-1)
        divergence = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
        return mean_per_sample(self.temperature**2 * divergence)  # li2022 eq. 3, l_p

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature, "dtype": self.dtype}


def _check_same_classes(teacher: Tensor, student: Tensor) -> None:
    first, second = tuple(teacher.shape), tuple(student.shape)
    if len(first) != len(second) or any(
        a is not None and b is not None and a != b for a, b in zip(first, second, strict=True)
    ):
        raise ValueError(
            "`KLDistillation` needs teacher and student logits of the same shape. Received: "
            f"teacher shape={first}, student shape={second}. Give the student a head with the "
            "teacher's classes; features of different widths belong in `CKA`, or in "
            "`NormalizedL2` after a `keras_univrep.layers.AlignmentAdapter`."
        )
