"""Weights from learned uncertainties."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.balancers.balancer import Balancer
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class Uncertainty(Balancer):
    """Each task is weighted by its homoscedastic uncertainty, which is learned.

    Equation:
        kendall2018, eq. 7 and 10, in the logarithm of the variance:

            L = sum_t (L_t / (s_t exp(sigma_t)) + sigma_t / 2)

        | symbol | here | shape |
        |---|---|---|
        | sigma_t | the trainable variable | (tasks,) |
        | s_t | `scales`: 1 for classification, 2 for regression | (tasks,) |

    Differences:
        The released code of li2022 takes s = (1, 2, 2) for classes, depth and normals; many
        others take 2 for every task, as here by default.

    Args:
        scales: s_t, one number, by task, or in the order of the tasks.
        initial: First value of sigma.

    Example:
        >>> from keras_univrep.balancers import Uncertainty
        >>> balancer = Uncertainty(scales=[1.0, 2.0], initial=0.0)
        >>> [float(w) for w in balancer([3.0, 4.0])]
        [1.0, 0.5]
        >>> [float(g) for g in balancer.variable_gradients([3.0, 4.0])[0]]
        [-2.5, -1.5]

    References:
        - Kendall, Gal and Cipolla, Multi-task learning using uncertainty to weigh losses, 2018.
    """

    def __init__(
        self,
        scales: float | Mapping[str, float] | Sequence[float] = 2.0,
        initial: float = -0.5,
    ) -> None:
        super().__init__()
        self.scales = dict(scales) if isinstance(scales, Mapping) else scales
        self.initial = float(initial)

    def make_variables(self) -> None:
        values = self.per_task("scales", self.scales)
        if min(values) <= 0:
            raise ValueError(f"`scales` must be above 0. Received: scales={self.scales!r}.")
        self.sigma = self.add_variable("sigma", self.initial, trains=True)

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        scales = ops.convert_to_tensor(self.per_task("scales", self.scales), "float32")
        return ops.exp(-self.sigma.value) / scales  # kendall2018 eq. 10

    def objective(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        return super().objective(losses) + 0.5 * ops.sum(self.sigma.value)

    def variable_gradients(self, losses: Tensor, gram: Tensor | None = None) -> list[Tensor]:
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        return [0.5 - self.weights(losses) * losses]

    def get_config(self) -> dict[str, Any]:
        return {"scales": self.scales, "initial": self.initial}
