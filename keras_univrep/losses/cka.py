"""Centred kernel alignment between the features of a teacher and those of a student."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_univrep.backend import lower_median, with_gradients
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
        value = _losses(y_true, y_pred, self.kernel, self.normalize)
        # One value, but not a scalar: Keras then divides by the replicas of a TensorFlow strategy.
        return ops.reshape(value, (1,))

    def each(self, teachers: Tensor, students: Tensor) -> Tensor:
        """The loss of each of several mini-batches of equal size, with the gradients of `call`.

        Args:
            teachers: Features (mini-batches, batch, channels), all sizes known.
            students: Likewise; the number of channels may differ.

        Returns:
            Tensor of shape (mini-batches,).
        """
        return _losses(teachers, students, self.kernel, self.normalize)[:, 0, 0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel": self.kernel,
            "normalize": self.normalize,
            "dtype": self.dtype,
        }


def _losses(teacher: Tensor, student: Tensor, kernel: str, normalize: bool) -> Tensor:
    """The loss of one mini-batch, or of each of many of equal size.

    Args:
        teacher: (..., batch, channels), with no axis in front or one.
        student: (..., batch, channels).
        kernel: As for `CKA`.
        normalize: As for `CKA`.

    Returns:
        Tensor of shape (..., 1, 1).
    """
    features = [at_least_float32(x) for x in (student, teacher)]
    if normalize:
        features = [unit_vectors(x, axis=-1) for x in features]
    if kernel == "rbf":
        return with_gradients(_rbf_loss, features)
    P, T = (_gram(_centred(x)) for x in features)
    return 1.0 - _hsic(P, T) / _scale(_hsic(P, P), _hsic(T, T))  # li2022 eq. 5


def _rbf_loss(student: Tensor, teacher: Tensor) -> tuple[Tensor, list[Callable[[], Tensor]]]:
    """The loss with the RBF kernel, and its gradients: three products of matrices in all."""
    P, pull_student = _rbf_kernel(student)
    T, pull_teacher = _rbf_kernel(teacher)
    p, t = _hsic(P, P), _hsic(T, T)
    scale = _scale(p, t)
    cka = _hsic(P, T) / scale  # li2022 eq. 5

    def of_kernel(own: Tensor, other: Tensor, hsic: Tensor) -> Tensor:
        """Gradient of `cka` with respect to a kernel matrix."""
        # An HSIC at its lower limit is a constant.
        share = ops.where(hsic > SMALLEST, cka / ops.maximum(hsic, SMALLEST), 0.0)
        return other * (1.0 / scale) - own * share

    pulls = [
        lambda: pull_student(-of_kernel(P, T, p)),
        lambda: pull_teacher(-of_kernel(T, P, t)),
    ]
    return 1.0 - cka, pulls


def _rbf_kernel(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Centred kernel matrix of rows, and the gradient of `x` for one of that matrix."""
    # Distances do not see a shift, and rounding is smaller around the mean.
    centred = _centred(x)
    distances = _squared_distances(x, _gram(centred))
    bandwidth = ops.cast(_median(ops.stop_gradient(distances)), x.dtype)
    bandwidth = ops.stop_gradient(ops.maximum(bandwidth, SMALLEST))
    kernel = ops.exp(distances * (-0.5 / bandwidth))
    rows = ops.mean(kernel, axis=-2, keepdims=True)

    def pull(cotangent: Tensor) -> Tensor:
        # The sign leaves out what counts as a distance of zero. All matrices are symmetric.
        weights = cotangent * kernel * ops.sign(distances)
        spread = ops.matmul(weights, centred) - ops.sum(weights, axis=-1, keepdims=True) * centred
        return spread * (2.0 / bandwidth)

    mean = ops.mean(rows, axis=-1, keepdims=True)
    return kernel - (rows - mean) - ops.swapaxes(rows, -1, -2), pull


def _centred(x: Tensor) -> Tensor:
    return x - ops.mean(x, axis=-2, keepdims=True)


def _gram(centred: Tensor) -> Tensor:
    """Kernel matrix of the linear kernel: centring the rows is centring the matrix."""
    return ops.matmul(centred, ops.swapaxes(centred, -1, -2))


def _hsic(first: Tensor, second: Tensor) -> Tensor:
    """Biased HSIC of two centred kernels; with `tr(A B) = sum(A * B)` for symmetric matrices."""
    return ops.sum(first * second, axis=(-2, -1), keepdims=True)


def _scale(first: Tensor, second: Tensor) -> Tensor:
    """Root of the product of two HSICs, each kept above its lower limit."""
    return ops.sqrt(ops.maximum(first, SMALLEST)) * ops.sqrt(ops.maximum(second, SMALLEST))


def _squared_distances(x: Tensor, gram: Tensor) -> Tensor:
    """Squared distances between rows, (..., batch, batch), exactly zero where rounding hides them.

    `gram` holds the products of the centred rows.
    """
    # From the diagonal, so that a row has no distance from itself.
    squares = ops.diagonal(gram, axis1=-2, axis2=-1)
    distances = (squares[..., :, None] + squares[..., None, :]) - 2.0 * gram
    rounding = 1e-6 * squares + 1e-12 * ops.sum(ops.square(x), axis=-1)
    zero = distances <= rounding[..., :, None] + rounding[..., None, :]
    # `zero` is false for a NaN, so that a diverged network is seen in the loss.
    return ops.where(zero, 0.0, distances)


def _median(distances: Tensor) -> Tensor:
    """Lower median of what is above zero in a matrix or in each of many, (..., 1, 1)."""
    if len(distances.shape) == 2:
        pairs = ops.cast(_pairs(distances), "float32")
        return ops.reshape(lower_median(pairs, mask=pairs > 0), (1, 1))
    groups, batch = distances.shape[:2]
    # Sorted, the zeros come first: the last entries are those that count.
    ordered = ops.sort(ops.reshape(ops.cast(distances, "float32"), (groups, batch**2)), axis=-1)
    count = ops.sum(ops.cast(ordered > 0, "int32"), axis=-1, keepdims=True)
    position = ops.minimum(batch**2 - count + (count - 1) // 2, batch**2 - 1)
    return ops.take_along_axis(ordered, position, axis=-1)[..., None]


def _pairs(matrix: Tensor) -> Tensor:
    """Every pair of a symmetric matrix once, the lower rows in the gaps of the upper ones.

    Shape `(ceil(batch / 2), batch)`; the diagonal comes along, and zeros where there is no pair.
    """
    count = ops.shape(matrix)[0]
    half = (count + 1) // 2
    row, column = ops.arange(half)[:, None], ops.arange(count)[None, :]
    lower = ops.flip(matrix[count - half :], axis=(0, 1))
    # The middle one of an odd number of rows is its own counterpart.
    lower = ops.where(2 * row + 1 == count, 0.0, lower)
    return ops.where(column > row, matrix[:half], lower)
