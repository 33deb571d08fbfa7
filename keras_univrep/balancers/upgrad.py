"""Unconflicting projection of gradients."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import cosines, non_negative, safe_norms
from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class UPGrad(Balancer):
    """Projects each task's gradient on the cone of directions that harm no task.

    Equation:
        quinton2024, section 3: with the dual cone `C = {d: <d, g_t> >= 0 for all t}`,

            d = sum_i p_i proj_C(g_i),   proj_C(g_i) = sum_t v_t g_t
            v = argmin v' gram v   over v_t >= 0, and v_i >= 1

        | symbol | here | shape |
        |---|---|---|
        | p_i | 1 / tasks, or 1 with `reduction="sum"` | (tasks,) |

    Differences:
        A little of the identity (`regularization`) is added to the cosines between the gradients;
        the authors' library adds it to the Gram matrix divided by its trace.

    Args:
        reduction: `"mean"` or `"sum"` over the tasks.
        regularization: Positive number that keeps nearly opposite gradients apart.
        scope: As for `Balancer`.
        heads: As for `Balancer`.

    Example:
        >>> from keras_univrep.balancers import UPGrad
        >>> weights = UPGrad("sum")([1.0, 1.0], [[1.0, -0.5], [-0.5, 1.0]])
        >>> [round(float(w), 4) for w in weights]
        [1.5, 1.5]

    References:
        - Quinton and Rey, Jacobian descent for multi-objective optimization, 2024.
    """

    needs_gradients = True

    def __init__(
        self,
        reduction: str = "mean",
        regularization: float = 1e-6,
        scope: str = "shared",
        heads: str = "sum",
    ) -> None:
        super().__init__(scope, heads)
        self.reduction = check_choice("reduction", reduction, ("mean", "sum"))
        self.regularization = float(regularization)

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        tasks = self.num_tasks
        # In unit gradients, row i in multiples of the length of g_i: v = e_i + u with u >= 0.
        identity = ops.eye(tasks)
        angles = cosines(gram)
        angles = angles * (1.0 - identity) + (1.0 + self.regularization) * identity
        iterations = 2**tasks - 1 if tasks < 5 else 6 * tasks
        rows = identity + non_negative(angles, angles, iterations)  # quinton2024 section 3
        lengths = safe_norms(gram)
        total = ops.sum(rows * (lengths[:, None] / lengths[None, :]), axis=0)
        return total / tasks if self.reduction == "mean" else total

    def get_config(self) -> dict[str, Any]:
        return {
            "reduction": self.reduction,
            "regularization": self.regularization,
            **super().get_config(),
        }
