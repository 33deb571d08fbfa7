"""Fast adaptive multi-task optimisation."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.balancers.balancer import Balancer
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class FAMO(Balancer):
    """Lowers the logarithms of all losses at one pace, without the gradients of the tasks.

    Equation:
        liu2023, eq. 9 and 10, with z = softmax(xi):

            w_t = c z_t / (L_t - b_t),   c = 1 / (sum_i z_i / (L_i - b_i))
            xi <- xi - beta (J' delta + gamma xi),   delta_t = log(L_t - b_t) - log(L'_t - b_t)

        with L' the losses of the same batch after the step, J the Jacobian of the softmax. A task
        at its bound, as with a loss of zero where it has no target in the batch, is left out: its
        weight is zero, and z is that of the others.

        | symbol | here | shape |
        |---|---|---|
        | xi | `logits`, kept with the moments of Adam | (tasks,) |
        | beta, gamma | `learning_rate`, `decay` | |
        | b_t | `lowest`, lower bounds of the losses | (tasks,) |

    Differences:
        As in the released code xi is moved by Adam, gamma an L2 penalty in its gradient. The second
        forward pass leaves no trace in moving statistics.

    Args:
        learning_rate: beta.
        decay: gamma.
        lowest: b_t, one number, by task, or in the order of the tasks.

    Example:
        >>> from keras_univrep.balancers import FAMO
        >>> [round(float(w), 4) for w in FAMO()([1.0, 3.0])]
        [0.75, 0.25]

    References:
        - Liu et al., FAMO: fast adaptive multitask optimization, 2023.
    """

    needs_losses_after = True

    def __init__(
        self,
        learning_rate: float = 0.025,
        decay: float = 0.001,
        lowest: float | Mapping[str, float] | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        self.learning_rate = float(learning_rate)
        self.decay = float(decay)
        self.lowest = dict(lowest) if isinstance(lowest, Mapping) else lowest

    def make_variables(self) -> None:
        self.per_task("lowest", self.lowest)
        self.logits = self.add_variable("logits")
        self.momentum = self.add_variable("momentum")
        self.velocity = self.add_variable("velocity")
        self.steps = self.add_variable("steps", shape=())

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        above = self._above(losses)
        shares = self._shares(above) / ops.where(above > 0.0, above, 1.0)
        total = ops.sum(shares)
        return shares / ops.where(total > 0.0, total, 1.0)  # liu2023 eq. 9

    def after_step(self, losses: Tensor, losses_after: Tensor) -> None:
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        losses_after = ops.cast(ops.convert_to_tensor(losses_after), "float32")
        above = self._above(losses)
        # A loss that a step brought down to its bound is not of a pace without end.
        after = ops.maximum(self._above(losses_after), 1e-8)
        delta = ops.where(above > 0.0, ops.log(ops.maximum(above, 1e-8)) - ops.log(after), 0.0)
        shares = self._shares(above)
        gradient = shares * (delta - ops.sum(shares * delta))  # liu2023 eq. 10
        gradient = gradient + self.decay * self.logits.value
        # One step of Adam.
        self.steps.assign_add(1.0)
        self.momentum.assign(0.9 * self.momentum.value + 0.1 * gradient)
        self.velocity.assign(0.999 * self.velocity.value + 0.001 * ops.square(gradient))
        mean = self.momentum.value / (1.0 - ops.power(0.9, self.steps.value))
        square = self.velocity.value / (1.0 - ops.power(0.999, self.steps.value))
        self.logits.assign_sub(self.learning_rate * mean / (ops.sqrt(square) + 1e-8))

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "decay": self.decay,
            "lowest": self.lowest,
        }

    def _above(self, losses: Tensor) -> Tensor:
        lowest = ops.convert_to_tensor(self.per_task("lowest", self.lowest), "float32")
        return ops.maximum(losses - lowest, 0.0)

    def _shares(self, above: Tensor) -> Tensor:
        """z among the tasks whose loss is above its bound, 0 for others."""
        shares = ops.softmax(self.logits.value) * ops.cast(above > 0.0, "float32")
        total = ops.sum(shares)
        return shares / ops.where(total > 0.0, total, 1.0)
