"""Multi-task learning as a bargaining game."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import bargain, length, of_present, present, safe_norms
from keras_univrep.balancers.balancer import Balancer, check_positive
from keras_univrep.types import Tensor

# How often a weighted gradient may be as long as the longest combination.
MOST_CONFLICT = 10.0


@keras.saving.register_keras_serializable(package="keras_univrep")
class NashMTL(Balancer):
    """Moves along the Nash bargaining solution, to which the scale of no task matters.

    Equation:
        navon2022, claim 3.1, with w > 0:

            d = sum_t w_t g_t,   gram w = 1 / w

        w is the minimum of `w' gram w / 2 - sum_t log w_t`. The length of d is the root of the
        number of tasks.

    Differences:
        The paper solves by a sequence of approximations; here Newton's method, damped as suits
        the logarithm, solves to rounding. The released code divides `gram` by its norm first, lets
        the heads follow the weights, and cuts the gradient of what is shared to `max_norm`. Here
        the weights are cut, so that the heads follow shorter ones as well; and where gradients are
        all but opposite, so that all of a long w_t g_t but a little cancels, the weights are cut
        until none is longer than ten times `max_norm`. A task without a gradient does not bargain;
        its head follows its own gradient, with the weight 1.

    Args:
        max_norm: Longest d, or `None` for the equation as it stands.
        iterations: Newton steps.
        update_weights_every: Steps for which weights are kept once they are found. The gradients
            of the tasks are taken in each step all the same.
        scope: As for `Balancer`.
        heads: As for `Balancer`.

    Raises:
        ValueError: If `max_norm` or `update_weights_every` is not above 0.

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
        update_weights_every: int = 1,
        scope: str = "shared",
        heads: str = "weighted",
    ) -> None:
        super().__init__(scope, heads)
        self.max_norm = None if max_norm is None else check_positive("max_norm", max_norm)
        self.iterations = iterations
        self.update_weights_every = int(
            check_positive("update_weights_every", update_weights_every)
        )

    def make_variables(self) -> None:
        if self.update_weights_every > 1:
            self.kept = self.add_variable("kept")
            self.steps = self.add_variable("steps", 0.0, shape=())

    def update(self, losses: Tensor, gram: Tensor | None = None) -> None:
        if self.update_weights_every > 1:
            self.kept.assign(self(losses, gram))
            self.steps.assign((self.steps.value + 1.0) % self.update_weights_every)

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        if self.update_weights_every == 1:
            return self._found(gram)
        return ops.where(self.steps.value > 0.0, self.kept.value, self._found(gram))

    def _found(self, gram: Tensor | None) -> Tensor:
        # In unit gradients, which the solution allows: the weights shrink as a gradient grows.
        # Opposite gradients have no solution; a little less than opposite ones do.
        angles = of_present(gram) + 1e-6 * ops.eye(self.num_tasks)
        weights = bargain(angles, self.iterations)
        there = present(gram)
        if self.max_norm is not None:
            longest = ops.maximum(
                length(angles, there * weights), ops.max(there * weights) / MOST_CONFLICT
            )
            weights = weights * ops.minimum(self.max_norm / ops.maximum(longest, 1e-12), 1.0)
        return ops.where(there > 0.0, weights / safe_norms(gram), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "max_norm": self.max_norm,
            "iterations": self.iterations,
            "update_weights_every": self.update_weights_every,
            **super().get_config(),
        }
