"""One loss for each of several domains, in as few operations as possible."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep.losses.cka import CKA
from keras_univrep.losses.cosine_distance import CosineDistance
from keras_univrep.losses.kl_distillation import KLDistillation
from keras_univrep.losses.normalized_l2 import NormalizedL2
from keras_univrep.types import Tensor

# A mean over the samples of a batch, as they are over positions: a further axis changes nothing.
AVERAGES = (CosineDistance, KLDistillation, NormalizedL2)
# Above it the work is in the numbers and no longer in the number of operations, and the median
# of a single batch, which `CKA` does not find by sorting, is the faster one.
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
        # Of CKA a further axis has a method of its own.
        values = (loss.each if isinstance(loss, CKA) else loss.call)(teacher, student)
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
