"""Multiple gradient descent."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import norms, on_simplex, present, rescale, to_unit_scale
from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor

NORMALIZATIONS = ("none", "l2", "loss", "loss+")


@keras.saving.register_keras_serializable(package="keras_univrep")
class MGDA(Balancer):
    """Moves along the shortest vector in the convex hull of the tasks' gradients.

    Equation:
        sener2018, eq. 3, and eq. 4 for `scope="representation"` (MGDA-UB):

            w = argmin || sum_t w_t g_t / n_t ||^2   over w_t >= 0, sum_t w_t = 1

        | symbol | here | shape |
        |---|---|---|
        | <g_i, g_j> | `gram` | (tasks, tasks) |
        | n_t | `normalization`: 1, ||g_t||, L_t, or L_t ||g_t|| | (tasks,) |

    Differences:
        The weights are those of the normalised gradients, and multiply the raw losses, heads
        included, as in the released code of sener2018 and li2022. li2022 uses MGDA-UB normalised
        by the loss: `scope="representation", normalization="loss"`, the balancer of the name
        `"mgda_ub"`. The code of sener2018 answers 0.999 for a weight of 1; here it is 1. A task
        without a gradient, of which the hull's shortest vector is zero, is left out: the others
        are weighed without it, and its own weight is 1, which its head follows.

    Args:
        normalization: `"none"`, `"l2"`, `"loss"` or `"loss+"`.
        iterations: Steps of the solver; by default 30 for up to three tasks, more for more.
        scope: As for `Balancer`.
        heads: As for `Balancer`.

    Example:
        >>> from keras_univrep.balancers import MGDA
        >>> [round(float(w), 4) for w in MGDA()([1.0, 1.0], [[1.0, 0.0], [0.0, 3.0]])]
        [0.75, 0.25]

    References:
        - Sener and Koltun, Multi-task learning as multi-objective optimization, 2018.
        - Désidéri, Multiple-gradient descent algorithm, 2012.
    """

    needs_gradients = True

    def __init__(
        self,
        normalization: str = "none",
        iterations: int | None = None,
        scope: str = "shared",
        heads: str = "weighted",
    ) -> None:
        super().__init__(scope, heads)
        self.normalization = check_choice("normalization", normalization, NORMALIZATIONS)
        self.iterations = iterations

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        sizes = ops.ones_like(losses)
        if self.normalization.startswith("loss"):
            sizes = sizes * losses
        if self.normalization in ("l2", "loss+"):
            sizes = sizes * norms(gram)
        there = present(gram)
        # What vanishes stays as it is.
        sizes = ops.where(ops.abs(sizes) > 0.0, sizes, ops.ones_like(sizes))
        factors = ops.min(ops.abs(sizes)) / sizes
        gram = to_unit_scale(rescale(to_unit_scale(gram), factors))
        # The shortest vector of a hull around zero is zero: the others go on without those tasks.
        absent = 1.0 - there
        # sener2018 eq. 3
        weights = on_simplex(gram, 10.0 * absent, None, self.iterations) * there
        total = ops.sum(weights)
        return weights / ops.where(total > 0.0, total, ops.ones_like(total)) + absent

    def get_config(self) -> dict[str, Any]:
        return {
            "normalization": self.normalization,
            "iterations": self.iterations,
            **super().get_config(),
        }
