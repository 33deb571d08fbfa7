"""Impartial learning, by the losses."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers.balancer import Balancer
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class IMTLL(Balancer):
    """Learns scales under which the losses of all tasks are alike.

    Equation:
        liu2021, eq. 7, lowest in s where exp(s_t) L_t = 1:

            L = sum_t (exp(s_t) L_t - s_t)

        | symbol | here | shape |
        |---|---|---|
        | s_t | the trainable variable, moved by the model's optimizer | (tasks,) |

    Args:
        initial: First value of s.

    Example:
        >>> from keras_univrep.balancers import IMTLL
        >>> balancer = IMTLL()
        >>> [float(w) for w in balancer([3.0, 4.0])]
        [1.0, 1.0]
        >>> [float(g) for g in balancer.variable_gradients([3.0, 4.0])[0]]
        [2.0, 3.0]

    References:
        - Liu et al., Towards impartial multi-task learning, 2021.
    """

    def __init__(self, initial: float = 0.0) -> None:
        super().__init__()
        self.initial = float(initial)

    def make_variables(self) -> None:
        self.scales = self.add_variable("scales", self.initial, trains=True)

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        return ops.exp(self.scales.value)  # liu2021 eq. 7

    def objective(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        return super().objective(losses) - ops.sum(self.scales.value)

    def variable_gradients(self, losses: Tensor, gram: Tensor | None = None) -> list[Tensor]:
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        return [self.weights(losses) * losses - 1.0]

    def get_config(self) -> dict[str, Any]:
        return {"initial": self.initial}
