"""What the losses share: precision, safe unit vectors, per-sample means and shape checks."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor

SQUARED_NORM_EPSILON = 1e-12
"""Added to a squared norm before its root, so that the gradient of a zero vector is finite."""


def at_least_float32(x: Tensor) -> Tensor:
    """Casts everything but float64 to float32: sums over channels overflow in half precision."""
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        return x
    return ops.cast(x, "float32")


def unit_vectors(x: Tensor, axis: int) -> Tensor:
    """Divides by the L2 norm along `axis`; a zero vector stays zero and has a finite gradient."""
    squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x / ops.sqrt(squared_norm + SQUARED_NORM_EPSILON)


def mean_per_sample(values: Tensor) -> Tensor:
    """Averages `(batch, ...)` over all axes but the first: one value per sample, `(batch,)`.

    Keras multiplies the value of a loss by `sample_weight` without aligning the batch axis, so a
    loss on maps must have averaged its positions before that.
    """
    if len(values.shape) == 1:
        return values
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def positive_axis(axis: int, rank: int) -> int:
    """Turns a channel axis into a positive one and refuses the batch axis."""
    if not -rank <= axis < rank or axis % rank == 0:
        raise ValueError(
            "`axis` must name the channel axis of the features, which is not the batch axis 0. "
            f"Received: axis={axis} for features of rank {rank}. "
            "Use axis=-1 for channels last, axis=1 for channels first."
        )
    return axis % rank


def check_axis(axis: Any) -> int:
    """Checks the type of a channel axis when a loss is made."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise TypeError(
            f"`axis` must be an integer, the channel axis. Received: axis={axis!r} "
            f"(of type {type(axis).__name__}). Use axis=-1 for channels last."
        )
    if axis == 0:
        raise ValueError(
            "`axis` must name the channel axis, which is not the batch axis. Received: axis=0. "
            "Use axis=-1 for channels last, axis=1 for channels first."
        )
    return axis


def check_rank(loss: str, minimum: int, layout: str, *features: Tensor) -> None:
    """Refuses features with fewer than `minimum` axes."""
    for x in features:
        if len(x.shape) < minimum:
            raise ValueError(
                f"`{loss}` needs features of shape {layout}. Received: shape={tuple(x.shape)}. "
                "Add the missing axis, e.g. with `keras.ops.expand_dims`."
            )


def check_same_shape(
    loss: str, teacher: Tensor, student: Tensor, except_axis: int | None = None
) -> None:
    """Refuses a teacher and a student whose known dimensions differ.

    `except_axis` is a positive axis that may differ, e.g. the channels of an attention map.
    """
    teacher_shape, student_shape = tuple(teacher.shape), tuple(student.shape)
    if len(teacher_shape) == len(student_shape):
        differing = _differing_axes(teacher_shape, student_shape, except_axis)
        if not differing:
            return
    raise ValueError(
        f"`{loss}` needs a teacher and a student of the same shape. Received: "
        f"teacher shape={teacher_shape}, student shape={student_shape}. "
        "Map the student into the teacher's space with `keras_univrep.layers.AlignmentAdapter`, "
        "and resize the maps with `keras.ops.image.resize` if their height or width differ."
    )


def check_same_batch(loss: str, teacher: Tensor, student: Tensor) -> None:
    """Refuses a teacher and a student that describe different numbers of samples."""
    if _differing_axes(tuple(teacher.shape)[:1], tuple(student.shape)[:1], None):
        raise ValueError(
            f"`{loss}` compares the same images seen by two networks, so both need the same batch "
            f"size. Received: teacher shape={tuple(teacher.shape)}, "
            f"student shape={tuple(student.shape)}. Pass both networks the same batch."
        )


def check_scalar_weight(loss: str, sample_weight: Any) -> None:
    """Refuses a weight per sample for a loss that has one value for the whole mini-batch."""
    if sample_weight is None:
        return
    shape = getattr(sample_weight, "shape", None)
    if shape is None:
        shape = _python_shape(sample_weight)
    if len(shape) > 0:
        raise ValueError(
            f"`{loss}` is one number for the whole mini-batch and has no value per sample to "
            f"weigh, so `sample_weight` must be a scalar. Received: sample_weight of shape "
            f"{tuple(shape)}. Drop the samples before the loss, or pass a scalar weight."
        )


def check_positive(name: str, value: Any) -> float:
    """Returns a positive finite number as a float, or says what came instead."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"`{name}` must be a number. Received: {name}={value!r} "
            f"(of type {type(value).__name__}). Pass a Python float such as 4.0."
        )
    if not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"`{name}` must be positive and finite. Received: {name}={value}. "
            "Pass 1.0 for no effect."
        )
    return float(value)


def _differing_axes(
    first: Sequence[int | None], second: Sequence[int | None], except_axis: int | None
) -> list[int]:
    return [
        axis
        for axis, (a, b) in enumerate(zip(first, second, strict=True))
        if a is not None and b is not None and a != b and axis != except_axis
    ]


def _python_shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, (list, tuple)):
        return (len(value), *(_python_shape(value[0]) if value else ()))
    return ()
