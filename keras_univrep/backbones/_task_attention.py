"""Attention of features over the tasks that they belong to."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class TaskAttention(keras.layers.Layer):
    """Weighs features of several tasks by a softmax over the tasks.

    Args:
        num_tasks: Tasks; the channels are those of one after another.
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Logits and features, two maps of (batch, height, width, tasks x channels).

    Returns:
        A tensor of the shape of the features.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones._task_attention import TaskAttention
        >>> maps = np.zeros((1, 2, 2, 4), "float32"), np.ones((1, 2, 2, 4), "float32")
        >>> [float(number) for number in TaskAttention(2)(maps)[0, 0, 0]]
        [0.5, 0.5, 0.5, 0.5]
    """

    def __init__(self, num_tasks: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_tasks = num_tasks

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        logits, x = inputs
        apart = (*ops.shape(x)[:-1], self.num_tasks, x.shape[-1] // self.num_tasks)
        # A softmax of low precision does not sum to one.
        logits = ops.cast(ops.reshape(logits, apart), "float32")
        # Not `ops.softmax`, which warns of a single task.
        powers = ops.exp(logits - ops.stop_gradient(ops.max(logits, axis=-2, keepdims=True)))
        mask = powers / ops.sum(powers, axis=-2, keepdims=True)
        return x * ops.cast(ops.reshape(mask, ops.shape(x)), x.dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Returns the shape of the features."""
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "num_tasks": self.num_tasks,
        }
