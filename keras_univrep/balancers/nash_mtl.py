"""Multi-task learning as a bargaining game."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import bargain, cosines, length, safe_norms
from keras_univrep.balancers.balancer import Balancer, check_positive
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class NashMTL(Balancer):
    """Moves along the Nash bargaining solution, to which the scale of no task matters.

    Equation:
        navon2022, claim 3.1: `d = sum_t w_t g_t` with w > 0 and `gram w = 1 / w`, the minimum of
        `w' gram w / 2 - sum_t log w_t`. Its length is the root of the number of tasks.

    Differences:
        The paper solves by a sequence of approximations; here Newton's method, damped as suits
        the logarithm, solves to rounding. As in the released code, a d longer than `max_norm` is
        cut to that length, and the heads follow the weights as well.

    Args:
        max_norm: Longest d, or `None` for the equation as it stands.
        iterations: Newton steps.
        scope: As for `Balancer`.
        heads: As for `Balancer`.

    Raises:
        ValueError: If `max_norm` is not above 0.

    Example:
        >>> from keras_univrep.balancers import NashMTL
        >>> weights = NashMTL(max_norm=None)([1.0, 1.0], [[1.0, 0.0], [0.0, 4.0]])
        >>> [round(float(w), 4) for w in weights]
        [1.0, 0.5]

    References:
        - Navon et al., Multi-task learning as a bargaining game, 2022.
    """

    needs_gradients = True

    def __init__(
        self,
        max_norm: float | None = 1.0,
        iterations: int = 30,
        scope: str = "shared",
        heads: str = "weighted",
    ) -> None:
        super().__init__(scope, heads)
        self.max_norm = None if max_norm is None else check_positive("max_norm", max_norm)
        self.iterations = iterations

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        # In unit gradients, which the solution allows: the weights shrink as a gradient grows.
        # Opposite gradients have no solution; a little less than opposite ones do.
        angles = cosines(gram) + 1e-6 * ops.eye(self.num_tasks)
        weights = bargain(angles, self.iterations)
        if self.max_norm is not None:
            weights = weights * ops.minimum(
                self.max_norm / ops.maximum(length(angles, weights), 1e-12), 1.0
            )
        return weights / safe_norms(gram)

    def get_config(self) -> dict[str, Any]:
        return {
            "max_norm": self.max_norm,
            "iterations": self.iterations,
            **super().get_config(),
        }
