"""Projection of conflicting gradients."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import cosines, safe_norms
from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class PCGrad(Balancer):
    """Takes out of each task's gradient what points against another task's.

    Equation:
        yu2020, algorithm 1: for each task i, with the other tasks j in random order,

            g'_i = g_i;   if <g'_i, g_j> < 0:  g'_i = g'_i - <g'_i, g_j> / ||g_j||^2 g_j

        and the step goes along `sum_i g'_i`, which is a combination of the g_j whose coefficients
        follow from `gram` alone.

    Differences:
        The released code of li2022 takes the mean over i, as here by default; yu2020 the sum. Both
        project g'_i on g_i itself as well, should it ever point against it. The code of yu2020
        loses the random order: `order="fixed"`.

    Args:
        reduction: `"mean"` or `"sum"` over the tasks, for what they share.
        order: `"random"`, drawn anew for each task and step, or `"fixed"`.
        include_self: Whether j runs over i as well.
        seed: Of the random order.
        scope: As for `Balancer`.
        heads: As for `Balancer`.

    Example:
        >>> from keras_univrep.balancers import PCGrad
        >>> gram = [[1.0, -0.5], [-0.5, 1.0]]
        >>> [float(w) for w in PCGrad("sum")([1.0, 1.0], gram)]
        [1.5, 1.5]

    References:
        - Yu et al., Gradient surgery for multi-task learning, 2020.
    """

    needs_gradients = True

    def __init__(
        self,
        reduction: str = "mean",
        order: str = "random",
        include_self: bool = True,
        seed: int | None = None,
        scope: str = "shared",
        heads: str = "sum",
    ) -> None:
        super().__init__(scope, heads)
        self.reduction = check_choice("reduction", reduction, ("mean", "sum"))
        self.order = check_choice("order", order, ("random", "fixed"))
        self.include_self = include_self
        self.seed = seed

    def make_variables(self) -> None:
        # Of two tasks each has but one other: there is nothing to draw, and nothing to save.
        self.generator = None
        if self.order == "random" and self.num_tasks > 2:
            self.generator = keras.random.SeedGenerator(self.seed)
            self.state.generator = self.generator  # type: ignore[union-attr]

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        tasks = self.num_tasks
        # In unit gradients: g'_i = sum_j c_ij g_j / ||g_j||, up to the length of g_i.
        angles = cosines(gram)
        identity = ops.eye(tasks)
        if self.generator is None:
            order = ops.tile(ops.arange(tasks)[None, :], (tasks, 1))
        else:
            draws = keras.random.uniform((tasks, tasks), seed=self.generator)
            order = ops.argsort(draws, axis=1)
        order = ops.one_hot(order, tasks, dtype="float32")
        coefficients = identity
        for turn in range(tasks):
            other = order[:, turn]
            product = ops.sum(ops.matmul(coefficients, angles) * other, axis=1, keepdims=True)
            product = ops.minimum(product, 0.0)
            if not self.include_self:
                product = product * (1.0 - ops.sum(other * identity, axis=1, keepdims=True))
            coefficients = coefficients - product * other  # yu2020 algorithm 1
        lengths = safe_norms(gram)
        total = ops.sum(coefficients * (lengths[:, None] / lengths[None, :]), axis=0)
        return total / tasks if self.reduction == "mean" else total

    def get_config(self) -> dict[str, Any]:
        return {
            "reduction": self.reduction,
            "order": self.order,
            "include_self": self.include_self,
            "seed": self.seed,
            **super().get_config(),
        }
