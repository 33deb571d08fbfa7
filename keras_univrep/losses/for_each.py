"""One loss for each of several domains, in as few operations as possible."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep.losses._features import at_least_float32, unit_vectors
from keras_univrep.losses.cka import CKA, SMALLEST
from keras_univrep.losses.cosine_distance import CosineDistance
from keras_univrep.losses.kl_distillation import KLDistillation
from keras_univrep.losses.normalized_l2 import NormalizedL2
from keras_univrep.types import Tensor

# A mean over the samples of a batch, as they are over positions: a further axis changes nothing.
AVERAGES = (CosineDistance, KLDistillation, NormalizedL2)
# Above it the work is in the numbers and no longer in the number of operations, and the median
# of a single batch, which is not found by sorting, is the faster one.
LARGEST = 64


def for_each(loss: Any, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Computes `loss(teacher, student)` for each domain.

    A loss of a small batch is dozens of operations on next to nothing, and costs what they cost.
    Domains whose batches have the same shapes are therefore computed together. Each has the value
    that it has alone.

    Args:
        loss: Called as `loss(teacher, student)`.
        pairs: Features or logits of teacher and student, `{domain: ((batch, channels), (batch,
            channels))}`.

    Returns:
        The loss of each domain, scalars.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import CKA
        >>> from keras_univrep.losses.for_each import for_each
        >>> x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        >>> values = for_each(CKA(), {"photo": (x, x), "sketch": (x, 2 * x[:, ::-1])})
        >>> {name: abs(round(float(value), 4)) for name, value in values.items()}
        {'photo': 0.0, 'sketch': 0.0}
    """
    groups: dict[Any, list[str]] = {}
    for name, (teacher, student) in pairs.items():
        shapes = (tuple(teacher.shape), tuple(student.shape))
        alone = not _stacks(loss, *shapes)
        groups.setdefault(name if alone else shapes, []).append(name)
    found = {}
    for names in groups.values():
        if len(names) == 1:
            found[names[0]] = loss(*pairs[names[0]])
            continue
        teacher, student = (ops.stack([pairs[name][i] for name in names]) for i in (0, 1))
        values = _cka(loss, teacher, student) if type(loss) is CKA else loss.call(teacher, student)
        # As `loss` itself does under a TensorFlow strategy of several replicas.
        values = values * _SHARE(ops.zeros((1,)), ops.ones((1,)))
        found.update(zip(names, ops.unstack(values, num=len(names)), strict=True))
    return {name: found[name] for name in pairs}


def _stacks(loss: Any, *shapes: tuple[int | None, ...]) -> bool:
    if type(loss) not in (CKA, *AVERAGES) or loss.reduction != "sum_over_batch_size":
        return False
    known = all(len(shape) == 2 and None not in shape for shape in shapes)
    return known and shapes[0][0] == shapes[1][0] and (shapes[0][0] or 0) <= LARGEST


class _Share(keras.losses.Loss):
    """One over the number of replicas."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred


# TensorFlow takes no scope that begins as the name of this class does.
_SHARE = _Share(name="share")


def _cka(loss: CKA, teacher: Tensor, student: Tensor) -> Tensor:
    """`CKA` of each of the groups of (groups, batch, channels): (groups,)."""
    P, T = (_centred_kernels(x, loss) for x in (student, teacher))

    def hsic(first: Tensor, second: Tensor) -> Tensor:
        return ops.sum(first * second, axis=(1, 2))

    scale = ops.sqrt(ops.maximum(hsic(P, P), SMALLEST)) * ops.sqrt(
        ops.maximum(hsic(T, T), SMALLEST)
    )
    return 1.0 - hsic(P, T) / scale  # li2022 eq. 5


def _centred_kernels(features: Tensor, loss: CKA) -> Tensor:
    x = at_least_float32(features)
    if loss.normalize:
        x = unit_vectors(x, axis=-1)
    centred = x - ops.mean(x, axis=1, keepdims=True)
    gram = ops.matmul(centred, ops.transpose(centred, (0, 2, 1)))
    if loss.kernel == "linear":
        return gram
    squares = ops.sum(ops.square(centred), axis=-1)
    magnitude = ops.sum(ops.square(x), axis=-1)
    total = squares[:, :, None] + squares[:, None, :]
    distances = total - 2.0 * gram
    rounding = 1e-6 * total + 1e-12 * (magnitude[:, :, None] + magnitude[:, None, :])
    diagonal = ops.eye(x.shape[1], dtype="bool")
    zero = ops.logical_or(diagonal[None], distances <= rounding)
    distances = ops.where(zero, ops.zeros_like(distances), distances)
    bandwidth = ops.cast(_lower_medians(ops.stop_gradient(distances)), x.dtype)
    bandwidth = ops.stop_gradient(ops.maximum(bandwidth, SMALLEST))
    kernel = ops.exp(-distances / (2.0 * bandwidth[:, None, None]))
    rows = ops.mean(kernel, axis=1, keepdims=True)
    mean = ops.mean(rows, axis=2, keepdims=True)
    return kernel - rows - ops.transpose(rows, (0, 2, 1)) + mean


def _lower_medians(distances: Tensor) -> Tensor:
    """Lower median of what is above zero in each matrix, (groups,); 0 where nothing is."""
    flat = ops.reshape(ops.cast(distances, "float32"), (distances.shape[0], -1))
    # Sorted, the zeros come first: the last entries are those that count.
    ordered = ops.sort(flat, axis=-1)
    count = ops.sum(ops.cast(ordered > 0, "int32"), axis=-1, keepdims=True)
    position = flat.shape[1] - count + (count - 1) // 2
    return ops.take_along_axis(ordered, ops.minimum(position, flat.shape[1] - 1), axis=-1)[:, 0]
