"""Weights chosen by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.balancers.balancer import Balancer
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class Fixed(Balancer):
    """Weights that stay as they are given.

    Equation:
        li2022, eq. 2: `w_t = lambda_t`.

    Args:
        values: lambda_t, by task or in the order of the tasks.

    Raises:
        ValueError: When built, if the values are not those of the tasks.

    Example:
        >>> from keras_univrep.balancers import Fixed
        >>> [float(w) for w in Fixed([1.0, 0.5])([3.0, 4.0])]
        [1.0, 0.5]

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, section 3.2.
    """

    def __init__(self, values: Mapping[str, float] | Sequence[float]) -> None:
        super().__init__()
        self.values = dict(values) if isinstance(values, Mapping) else list(values)

    def make_variables(self) -> None:
        self.per_task("values", self.values)

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        values = self.per_task("values", self.values)
        return ops.convert_to_tensor(values, "float32")  # li2022 eq. 2

    def get_config(self) -> dict[str, Any]:
        return {"values": self.values}
