"""Centred kernel alignment between the features of a teacher and those of a student."""

from typing import Any

import keras
from keras import ops

from keras_univrep.backend import lower_median
from keras_univrep.losses._features import (
    at_least_float32,
    check_same_batch,
    check_scalar_weight,
    unit_vectors,
)
from keras_univrep.types import Tensor

KERNELS = ("rbf", "linear")
SMALLEST = 1e-12
"""Lower limit of a squared bandwidth and of an HSIC under a root, as in the released code."""


@keras.saving.register_keras_serializable(package="keras_univrep")
class CKA(keras.losses.Loss):
    """One minus the centred kernel alignment of two sets of features over a mini-batch.

    Equation:
        li2022 eq. 5

            CKA(M, S) = tr(P H T H) / sqrt(tr(P H P H) tr(T H T H)),  loss = 1 - CKA

        | symbol | here | shape |
        |---|---|---|
        | M | `student`: universal features after the adapter of the domain | (B, C) |
        | S | `teacher`: features of the network of that domain | (B, C') |
        | P, T | kernel matrices of M and S | (B, B) |
        | H | centring, I - 1/B | (B, B) |
        | B | mini-batch size, all of one domain | |

        `"rbf"`: P_ij = exp(-d_ij / (2 s)) with d_ij = ||m_i - m_j||^2 and s the lower median of
        the non-zero d_ij, separately for P and for T. `"linear"`: P = M M^T.

    Differences:
        From the paper's equation, following the released code: both sides are divided by their
        L2 norm per sample (`normalize=False` leaves them), the bandwidth is a constant for the
        gradient, and each HSIC and each bandwidth is kept above 1e-12. From the released code: a
        squared distance below float32 rounding of the features counts as zero, so that repeated
        images do not pull the median.

    Args:
        kernel: `"rbf"` or `"linear"`. Defaults to `"rbf"`.
        normalize: Whether to divide each feature vector by its L2 norm first. Defaults to `True`.
        reduction: As in `keras.losses.Loss`; there is one value, so only its shape can change.
        name: Name of the loss. Defaults to `"cka"`.
        dtype: Dtype of the result; the computation is in float32 or float64.

    Call arguments:
        teacher: Features `(batch, channels)`, dimensionless.
        student: Features `(batch, channels)`; the number of channels may differ.
        sample_weight: `None` or a scalar. A batch statistic has no value per sample.

    Returns:
        A scalar in [0, 1] (shape `(1,)` with `reduction=None`): 0 when the features are equal up to
        rotation (and scale), 1 when they are unrelated. It is 1 with a zero gradient where CKA is
        0/0: a batch of one sample or of equal samples. A batch of two has no information for the
        `"rbf"` kernel either (its value is 0): use batches of at least three, better tens.

    Raises:
        ValueError: For an unknown kernel, for features that are not `(batch, channels)`, for
            unequal batch sizes or for a weight per sample.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import CKA
        >>> features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.5]])
        >>> quarter_turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
        >>> round(abs(float(CKA()(features, features @ quarter_turn))), 5)
        0.0

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 4.2.
        - Kornblith, Norouzi, Lee and Hinton, Similarity of Neural Network Representations
          Revisited, 2019.
    """

    def __init__(
        self,
        kernel: str = "rbf",
        normalize: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cka",
        dtype: Any = None,
    ) -> None:
        if kernel not in KERNELS:
            raise ValueError(
                f'`kernel` must be one of {KERNELS}. Received: kernel={kernel!r}. Pass "rbf" for '
                "the loss of the paper."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kernel = kernel
        self.normalize = bool(normalize)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Tensor:
        check_scalar_weight("CKA", sample_weight)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        for features in (y_true, y_pred):
            if len(features.shape) != 2:
                raise ValueError(
                    "`CKA` compares one vector per image, so features must have shape "
                    f"(batch, channels). Received: shape={tuple(features.shape)}. Pool the maps "
                    "with `keras.layers.GlobalAveragePooling2D`, flatten them with "
                    "`keras.layers.Flatten`, or use `NormalizedL2` to compare every position."
                )
        check_same_batch("CKA", y_true, y_pred)
        P = self._centred_kernel(y_pred)
        T = self._centred_kernel(y_true)
        scale = ops.sqrt(_hsic(P, P)) * ops.sqrt(_hsic(T, T))
        cka = ops.sum(P * T) / scale  # li2022 eq. 5
        # One value, but not a scalar: Keras then divides by the replicas of a TensorFlow strategy.
        return ops.reshape(1.0 - cka, (1,))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel": self.kernel,
            "normalize": self.normalize,
            "dtype": self.dtype,
        }

    def _centred_kernel(self, features: Tensor) -> Tensor:
        x = at_least_float32(features)
        if self.normalize:
            x = unit_vectors(x, axis=-1)
        # Distances do not see a shift, and for the linear kernel this is the centring itself.
        centred = x - ops.mean(x, axis=0, keepdims=True)
        gram = ops.matmul(centred, ops.transpose(centred))
        if self.kernel == "linear":
            return gram
        distances = _squared_distances(x, centred, gram)
        fixed = ops.cast(ops.stop_gradient(distances), "float32")
        bandwidth = ops.cast(lower_median(fixed, mask=fixed > 0), x.dtype)
        bandwidth = ops.stop_gradient(ops.maximum(bandwidth, SMALLEST))
        kernel = ops.exp(-distances / (2.0 * bandwidth))
        rows = ops.mean(kernel, axis=0, keepdims=True)
        return kernel - rows - ops.transpose(rows) + ops.mean(rows)


def _hsic(first: Tensor, second: Tensor) -> Tensor:
    """Biased HSIC of two centred kernels; with `tr(A B) = sum(A * B)` for symmetric matrices."""
    return ops.maximum(ops.sum(first * second), SMALLEST)


def _squared_distances(x: Tensor, centred: Tensor, gram: Tensor) -> Tensor:
    """Squared distances between rows, `(batch, batch)`, exactly zero where rounding hides them."""
    squares = ops.sum(ops.square(centred), axis=-1)
    magnitude = ops.sum(ops.square(x), axis=-1)
    total = squares[:, None] + squares[None, :]
    distances = total - 2.0 * gram
    rounding = 1e-6 * total + 1e-12 * (magnitude[:, None] + magnitude[None, :])
    index = ops.arange(ops.shape(x)[0])
    zero = ops.logical_or(index[:, None] == index[None, :], distances <= rounding)
    # `zero` is false for a NaN, so that a diverged network is seen in the loss.
    return ops.where(zero, ops.zeros_like(distances), distances)
