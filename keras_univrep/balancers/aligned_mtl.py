"""Alignment of the principal components of the gradients."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import largest
from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor

SCALES = ("min", "median", "rmse")


@keras.saving.register_keras_serializable(package="keras_univrep")
class AlignedMTL(Balancer):
    """Makes the gradients orthogonal and of one length, as near to what they were as can be.

    Equation:
        senushkin2023, eq. 13 and algorithm 1, with `gram = V diag(lambda) V'` of rank R:

            w = sqrt(lambda_R) V diag(lambda^(-1/2)) V' p

        | symbol | here | shape |
        |---|---|---|
        | lambda_R | `scale`: the least of the R eigenvalues, or their median or mean | |
        | p | 1 / tasks, or 1 with `reduction="sum"` | (tasks,) |

    Args:
        scale: `"min"`, which is stable for any step, `"median"` or `"rmse"`.
        reduction: `"mean"` or `"sum"` over the tasks.
        scope: As for `Balancer`.
        heads: As for `Balancer`.

    Example:
        >>> from keras_univrep.balancers import AlignedMTL
        >>> [float(w) for w in AlignedMTL()([1.0, 1.0], [[1.0, 0.0], [0.0, 4.0]])]
        [0.5, 0.25]

    References:
        - Senushkin et al., Independent component alignment for multi-task learning, 2023.
    """

    needs_gradients = True

    def __init__(
        self,
        scale: str = "min",
        reduction: str = "mean",
        scope: str = "shared",
        heads: str = "sum",
    ) -> None:
        super().__init__(scope, heads)
        self.scale = check_choice("scale", scale, SCALES)
        self.reduction = check_choice("reduction", reduction, ("mean", "sum"))

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        tasks = self.num_tasks
        values, vectors = ops.eigh(gram / largest(gram))
        kept = values > ops.max(values) * tasks * 1.2e-7
        count = ops.maximum(ops.sum(ops.cast(kept, "float32")), 1.0)
        values = ops.where(kept, values, ops.ones_like(values))
        if self.scale == "rmse":
            scale = ops.sum(ops.where(kept, values, 0.0)) / count
        else:
            # Eigenvalues ascend, and those that count come last.
            missing = tasks - ops.cast(count, "int32")
            place = missing
            if self.scale == "median":
                place = missing + (ops.cast(count, "int32") - 1) // 2
            scale = ops.take(values, ops.minimum(place, tasks - 1))
        roots = ops.where(kept, ops.sqrt(scale / values), 0.0)
        preference = 1.0 if self.reduction == "sum" else 1.0 / tasks
        weights = ops.matmul(vectors * roots[None, :], ops.sum(vectors, axis=0)[:, None])[:, 0]
        return preference * weights  # senushkin2023 eq. 13

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "reduction": self.reduction, **super().get_config()}
