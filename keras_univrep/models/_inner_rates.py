"""Learning rates of inner steps, given or learned."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_univrep.types import Shape, Tensor

LEARNED = (None, "variable", "element")


class InnerRates(keras.layers.Layer):
    """One rate for all variables, or a learned one for each or for each of its elements."""

    def __init__(self, learning_rate: float, learn: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(learning_rate, bool) or not learning_rate > 0:
            raise ValueError(
                f"`learning_rate` must be positive. Received: learning_rate={learning_rate!r}. "
                "Pass steps=0 to adapt nothing."
            )
        if learn not in LEARNED:
            raise ValueError(
                f"`learn_rates` must be one of {list(LEARNED)}. Received: learn_rates={learn!r}."
            )
        self.learning_rate = float(learning_rate)
        self.learn = learn
        self.learned: list[keras.Variable] = []

    def make(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the learned rates of these; not `build`, as Keras would keep its arguments."""
        if self.learn is not None:
            for number, variable in enumerate(variables):
                self.learned.append(
                    self.add_weight(
                        shape=tuple(variable.shape) if self.learn == "element" else (),
                        initializer=keras.initializers.Constant(self.learning_rate),
                        name=f"rate{number}",
                    )
                )  # Li et al. 2017 eq. 3
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        self.built: bool = True

    def values(self) -> float | list[Tensor]:
        """What the inner loop takes."""
        if not self.learned:
            return self.learning_rate
        return [keras.ops.convert_to_tensor(rate.value) for rate in self.learned]
