"""Impartial learning, by the gradients."""

from typing import Any

import keras

from keras_univrep.balancers._gram import equal_projections
from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class IMTLG(Balancer):
    """Moves along the combination that projects equally onto the gradients of all tasks.

    Equation:
        liu2021, eq. 4 and 5:

            g = sum_t w_t g_t   with sum_t w_t = 1
            <g, g_i> / ||g_i|| = <g, g_j> / ||g_j||   for all i, j

        so that `w_t` is proportional to `(C^-1 1)_t / ||g_t||`, C the cosines between the
        gradients. Weights may be negative.

    Differences:
        The released code of li2022 finds w on the gradient of the features, averaged over the
        batch, and takes the mean over tasks, heads the sum: `scope="representation_mean"` and
        `reduction="mean"`. liu2021 sums. The heads' sum is the default of both.

    Args:
        reduction: `"sum"`, or `"mean"`, which divides w by the number of tasks.
        scope: As for `Balancer`.
        heads: As for `Balancer`.

    Example:
        >>> from keras_univrep.balancers import IMTLG
        >>> [round(float(w), 4) for w in IMTLG()([1.0, 1.0], [[1.0, 0.0], [0.0, 9.0]])]
        [0.75, 0.25]

    References:
        - Liu et al., Towards impartial multi-task learning, 2021.
    """

    needs_gradients = True

    def __init__(self, reduction: str = "sum", scope: str = "shared", heads: str = "sum") -> None:
        super().__init__(scope, heads)
        self.reduction = check_choice("reduction", reduction, ("sum", "mean"))

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        weights = equal_projections(gram)  # liu2021 eq. 5
        return weights / self.num_tasks if self.reduction == "mean" else weights

    def get_config(self) -> dict[str, Any]:
        return {"reduction": self.reduction, **super().get_config()}
