"""Impartial learning, by losses and gradients."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import equal_projections, rescale
from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class IMTLH(Balancer):
    """`IMTLL` for all variables, then `IMTLG` for the shared ones.

    Equation:
        liu2021, algorithm 1, with the scaled losses `exp(s_t) L_t - s_t` and a the weights of
        `IMTLG` for the scaled gradients: the shared variables follow d, each head its d_t

            d = sum_t a_t exp(s_t) g_t,   d_t = exp(s_t) g_t

        | symbol | here | shape |
        |---|---|---|
        | s_t | the trainable variable, moved by the model's optimizer | (tasks,) |

    Differences:
        As for `IMTLG`.

    Args:
        reduction: `"sum"`, or `"mean"`, which divides a by the number of tasks.
        initial: First value of s.
        scope: As for `Balancer`.

    Example:
        >>> from keras_univrep.balancers import IMTLH
        >>> [round(float(w), 4) for w in IMTLH()([1.0, 1.0], [[1.0, 0.0], [0.0, 9.0]])]
        [0.75, 0.25]

    References:
        - Liu et al., Towards impartial multi-task learning, 2021.
    """

    needs_gradients = True

    def __init__(self, reduction: str = "sum", initial: float = 0.0, scope: str = "shared") -> None:
        super().__init__(scope, "sum")
        self.reduction = check_choice("reduction", reduction, ("sum", "mean"))
        self.initial = float(initial)

    def make_variables(self) -> None:
        self.scales = self.add_variable("scales", self.initial, trains=True)

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        factors = ops.exp(self.scales.value)
        weights = equal_projections(rescale(gram, factors)) * factors  # liu2021 algorithm 1
        return weights / self.num_tasks if self.reduction == "mean" else weights

    def head_weights(self, losses: Tensor, weights: Tensor, scope: str | None = None) -> Tensor:
        return ops.exp(self.scales.value)

    def variable_gradients(self, losses: Tensor, gram: Tensor | None = None) -> list[Tensor]:
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        return [ops.exp(self.scales.value) * losses - 1.0]

    def get_config(self) -> dict[str, Any]:
        return {"reduction": self.reduction, "initial": self.initial, "scope": self.scope}
