"""A teacher whose weights are moving averages of a student's."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


class MovingTeacher(keras.layers.Layer):
    """Exponential moving averages of variables, which start as what these are at the first step."""

    def __init__(self, decay: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= decay < 1:
            raise ValueError(
                f"`decay` must be in [0, 1). Received: decay={decay}. Pass 0.99 for the paper's."
            )
        self.decay = float(decay)
        self.averages: list[keras.Variable] = []

    def build(self, variables: Sequence[keras.Variable] | Shape) -> None:
        """Makes an average of each variable."""
        for number, variable in enumerate(variables):
            self.averages.append(
                self.add_weight(
                    shape=variable.shape,
                    initializer="zeros",
                    trainable=False,
                    name=f"average{number}",
                )
            )
        self.begun = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="begun", dtype="float32"
        )
        self.built: bool = True

    def values(self, variables: Sequence[keras.Variable]) -> list[Tensor]:
        """The averages; before the first step the variables themselves."""
        return [
            ops.where(self.begun.value > 0, own.value, _value(variable, own.dtype))
            for own, variable in zip(self.averages, variables, strict=True)
        ]

    def move(self, before: Sequence[Tensor], variables: Sequence[keras.Variable]) -> None:
        """Moves the averages, from what `values` said before the step towards the variables."""
        for own, old, variable in zip(self.averages, before, variables, strict=True):
            new = _value(variable, own.dtype)
            own.assign(self.decay * old + (1.0 - self.decay) * new)  # shu2021 eq. 9
        self.begun.assign(ops.ones(()))


def _value(variable: keras.Variable, dtype: str) -> Tensor:
    return ops.cast(ops.stop_gradient(ops.convert_to_tensor(variable.value)), dtype)
