"""Adam with weight decay inside the gradient."""

from typing import Any

import keras

from keras_univrep.optimizers.coupled_decay import add_decay, check_l2
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class CoupledAdam(keras.optimizers.Adam):
    """Adam on the loss plus an L2 penalty of every weight.

    Equation:
        The gradient that the update sees, for a weight w of any shape:

            g' = g + l2 w

    Differences: Keras's own `weight_decay` is decoupled: it shrinks a weight by
        `learning_rate * weight_decay` beside the update, so momentum and the adaptive step do
        not act on it. The networks of the papers were trained with the coupled form.

    Args:
        *args: As for `keras.optimizers.Adam`.
        l2: Factor of the penalty's gradient, dimensionless.
        **kwargs: As for `keras.optimizers.Adam`; without `weight_decay`.

    Raises:
        ValueError: If `l2` is negative, or `weight_decay` is given as well.

    Example:
        >>> from keras_univrep.optimizers import CoupledAdam
        >>> CoupledAdam(0.01, l2=1e-4).l2
        0.0001
    """

    def __init__(self, *args: Any, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.l2 = check_l2(l2, kwargs.get("weight_decay"))

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        super().update_step(add_decay(gradient, variable, self.l2), variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}
