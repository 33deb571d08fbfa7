"""Losses by task, as scalars, and the parts of a batch that belong to each task."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor


def losses_by_task(loss: Any, tasks: Sequence[str]) -> dict[str, Any]:
    """One Keras loss, or function of (y_true, y_pred), for each task."""
    if loss is None:
        raise ValueError(
            "`loss` must name a loss for each task. Received: loss=None. Pass "
            f"`loss={{{', '.join(f'{task!r}: ...' for task in tasks)}}}`."
        )
    if not isinstance(loss, Mapping) or "class_name" in loss:
        loss = dict.fromkeys(tasks, loss)
    if set(loss) != set(tasks):
        raise ValueError(
            f"`loss` must name a loss for each task. Received: {sorted(loss)} for the tasks "
            f"{sorted(tasks)}. Name these."
        )
    return {task: keras.losses.get(loss[task]) for task in tasks}  # in the order of the tasks


def of_task(values: Any, task: str, name: str, optional: bool = False) -> Any:
    """What `values` has for a task; the whole of optional values that are not split by task."""
    if optional and not isinstance(values, Mapping):
        return values
    if not isinstance(values, Mapping) or (task not in values and not optional):
        came = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise ValueError(
            f"`{name}` must hold an entry for each task. Received: {came}, without {task!r}. "
            "Pass a dictionary by task."
        )
    return values.get(task)


def scalar_loss(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> Tensor:
    """The loss of one task, float32, averaged as Keras does: a replica's share."""
    if not isinstance(loss, keras.losses.Loss):
        loss = _FunctionLoss(loss)
    return ops.cast(loss(y_true, y_pred, sample_weight=sample_weight), "float32")


class _FunctionLoss(keras.losses.Loss):
    """A function as a Keras loss, which divides by replicas where there are several."""

    def __init__(self, function: Any) -> None:
        super().__init__(name="function_loss")
        self.function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        value = self.function(y_true, y_pred)
        # Keras does not divide a scalar.
        return ops.reshape(value, (1,)) if len(value.shape) == 0 else value


def task_losses(
    losses: Mapping[str, Any],
    y: Any,
    y_pred: Mapping[str, Tensor],
    sample_weight: Any,
    auxiliary: Mapping[str, str],
    auxiliary_weight: float,
) -> list[Tensor]:
    """The loss of each task in order, with those of the auxiliary outputs that there are."""
    found = []
    for task, loss in losses.items():
        target = of_task(y, task, "y")
        weight = of_task(sample_weight, task, "sample_weight", optional=True)
        value = scalar_loss(loss, target, of_task(y_pred, task, "outputs"), weight)
        for name in (name for name, of in auxiliary.items() if of == task and name in y_pred):
            value = value + auxiliary_weight * scalar_loss(loss, target, y_pred[name], weight)
        found.append(value)
    return found
