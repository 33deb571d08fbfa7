"""Conflict-averse gradient descent."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._faces import MOST, raise_worst
from keras_univrep.balancers._gram import length, norms, on_simplex, present, to_unit_scale
from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class CAGrad(Balancer):
    """Raises the worst improvement of a task, within a ball around the mean gradient.

    Equation:
        liu2021b, eq. 4 and algorithm 1, with g the mean of the g_t and g_w = sum_t w_t g_t:

            w = argmin <g_w, g> + c ||g|| ||g_w||   over w_t >= 0, sum_t w_t = 1
            d = (g + c ||g|| / ||g_w|| g_w) / z

        | symbol | here |
        |---|---|
        | c | `c` |
        | z | `rescale`: 1, 1 + c^2, or 1 + c for 0, 1 or 2 |

        A task whose gradient is zero cannot gain: w is that of the others.

    Differences:
        The released code of li2022 takes c = 0.5, divides by 1 + c^2 and works on all variables,
        those of the heads included: the defaults. liu2021b takes c = 0.4 on the shared ones and
        multiplies by the number of tasks: `CAGrad(0.4, reduction="sum", scope="shared",
        heads="sum")`; its two-dimensional example divides by 1 + c.

    Args:
        c: Radius of the ball, in [0, 1): 0 is the mean gradient.
        rescale: 0, 1 or 2.
        reduction: `"mean"`, or `"sum"`, which multiplies d by the number of tasks.
        iterations: Steps of an iterative solver; by default up to six tasks are solved at once,
            and more take 300.
        scope: As for `Balancer`.
        heads: As for `Balancer`; by default `"weighted"` on the scope `"all"`, else `"sum"`.

    Raises:
        ValueError: If `c` is negative, or `rescale` is something else.

    Example:
        >>> from keras_univrep.balancers import CAGrad
        >>> weights = CAGrad(rescale=0)([1.0, 1.0], [[1.0, 0.0], [0.0, 1.0]])
        >>> [round(float(w), 4) for w in weights]  # nothing to choose: a longer mean
        [0.75, 0.75]

    References:
        - Liu et al., Conflict-averse gradient descent for multi-task learning, 2021.
    """

    needs_gradients = True

    def __init__(
        self,
        c: float = 0.5,
        rescale: int = 1,
        reduction: str = "mean",
        iterations: int | None = None,
        scope: str = "all",
        heads: str | None = None,
    ) -> None:
        super().__init__(scope, heads or "sum")
        self.heads = heads
        if not c >= 0:
            raise ValueError(f"`c` must be 0 or more. Received: c={c!r}. Pass for instance 0.5.")
        self.c = float(c)
        self.rescale = check_choice("rescale", rescale, (0, 1, 2))  # type: ignore[arg-type]
        self.reduction = check_choice("reduction", reduction, ("mean", "sum"))
        self.iterations = iterations

    def heads_in(self, scope: str) -> str | None:
        # Over all variables one vector is followed, heads included.
        return self.heads or ("weighted" if scope == "all" else "sum")

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        gram = to_unit_scale(gram)
        even = ops.full((self.num_tasks,), 1.0 / self.num_tasks)
        weights = even
        if self.c > 0.0:
            radius = self.c * length(gram, even)
            weights = even + self._towards_worst(gram, radius)  # liu2021b eq. 4
        weights = weights / (1.0, 1.0 + self.c**2, 1.0 + self.c)[self.rescale]
        return weights * self.num_tasks if self.reduction == "sum" else weights

    def _towards_worst(self, gram: Tensor, radius: Tensor) -> Tensor:
        """Weights (tasks,) of c ||g|| / ||g_w|| g_w."""
        if self.iterations is None and self.num_tasks <= MOST:
            return raise_worst(gram, radius)
        # Divided by the radius. What a task without a gradient gains or loses is no concern.
        there = present(gram)
        linear = ops.mean(gram, axis=1) / ops.maximum(radius, 1e-12) + 1e6 * (1.0 - there)
        w = there * on_simplex(gram, linear, 1.0, self.iterations)
        # Rounding knows no sums shorter than a part of their terms.
        shortest = 3e-4 * ops.sum(w * norms(gram))
        return w * radius / ops.maximum(ops.maximum(length(gram, w), shortest), 1e-12)

    def get_config(self) -> dict[str, Any]:
        return {
            "c": self.c,
            "rescale": self.rescale,
            "reduction": self.reduction,
            "iterations": self.iterations,
            **super().get_config(),
        }
