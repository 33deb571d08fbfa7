"""Equal weights."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class Uniform(Balancer):
    """All tasks weigh the same.

    Equation:
        li2022, eq. 2 with lambda_t = 1 ("Uniform" of tables 1 and 2): `w_t = 1`, or 1 / tasks.

    Args:
        reduction: `"sum"` (w = 1) or `"mean"` (w = 1 / tasks).

    Example:
        >>> from keras_univrep.balancers import Uniform
        >>> [float(w) for w in Uniform("mean")([3.0, 4.0])]
        [0.5, 0.5]

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 5.1.
    """

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        self.reduction = check_choice("reduction", reduction, ("sum", "mean"))

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        weight = 1.0 if self.reduction == "sum" else 1.0 / self.num_tasks
        return ops.full((self.num_tasks,), weight)  # li2022 eq. 2

    def get_config(self) -> dict[str, Any]:
        return {"reduction": self.reduction}
