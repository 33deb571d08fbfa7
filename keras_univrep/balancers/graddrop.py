"""Gradient sign dropout."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.balancers.balancer import Balancer, check_choice
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class GradDrop(Balancer):
    """Keeps, coordinate by coordinate, either what is positive or what is negative.

    Equation:
        chen2020, eq. 1 and algorithm 1, for each coordinate, with U drawn from [0, 1):

            P = 1/2 (1 + (sum_t g_t) / (sum_t |g_t|))
            g = sum_t (l_t + (1 - l_t) M_t) g_t,   M_t = [P > U][g_t > 0] + [P < U][g_t < 0]

        On a representation z the signs are those of z g_t, summed over the batch, and one U
        serves the whole batch.

        | symbol | here | shape |
        |---|---|---|
        | g_t | rows of `gradients` | (tasks, ...) |
        | z | `values` | (batch, ...) |
        | l_t | `leak` | (tasks,) |

    Differences:
        The released code of li2022 drops coordinates of the shared variables' gradients and takes
        the mean over tasks, as here by default; chen2020 works on a representation and sums:
        `scope="representation", reduction="sum"`. The Gram matrix does not suffice: `combine`
        takes the place of `weights`.

    Args:
        reduction: `"mean"` or `"sum"` over the tasks.
        leak: l_t, one number in [0, 1], by task, or in the order of the tasks.
        seed: Of U.
        scope: `"shared"` or `"representation"`.
        heads: `"sum"` or `"mean"`, as for `Balancer`.

    Example:
        >>> from keras_univrep.balancers import GradDrop
        >>> balancer = GradDrop("sum")
        >>> balancer.build(2)
        >>> combined = balancer.combine([keras.ops.array([[1.0, 2.0], [3.0, 4.0]])])
        >>> [float(g) for g in combined[0]]  # all of one sign: all is kept
        [4.0, 6.0]

    References:
        - Chen et al., Just pick a sign: optimizing deep multitask models with gradient sign
          dropout, 2020.
    """

    needs_gradients = True

    def __init__(
        self,
        reduction: str = "mean",
        leak: Any = 0.0,
        seed: int | None = None,
        scope: str = "shared",
        heads: str = "sum",
    ) -> None:
        super().__init__(
            check_choice("scope", scope, ("shared", "representation")),
            check_choice("heads", heads, ("sum", "mean")),
        )
        self.reduction = check_choice("reduction", reduction, ("mean", "sum"))
        self.leak = leak
        self.seed = seed

    def make_variables(self) -> None:
        self.per_task("leak", self.leak)
        self.generator = keras.random.SeedGenerator(self.seed)
        self.state.generator = self.generator  # type: ignore[union-attr]

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        # What the gradient would weigh without the dropping.
        weight = 1.0 if self.reduction == "sum" else 1.0 / self.num_tasks
        return ops.full((self.num_tasks,), weight)

    def positive_share(self, gradients: Tensor, values: Tensor | None = None) -> Tensor:
        """Returns P, the chance of keeping what is positive.

        Args:
            gradients: (tasks, ...), or (tasks, batch, ...) with `values`.
            values: The representation, (batch, ...), or None.

        Returns:
            A tensor of the shape (...).
        """
        gradients = _signed(ops.convert_to_tensor(gradients), values)
        total = ops.sum(gradients, axis=0)
        size = ops.sum(ops.abs(gradients), axis=0)
        # chen2020 eq. 1
        return 0.5 * (1.0 + total / ops.where(size > 0.0, size, ops.ones_like(size)))

    def combine(
        self, gradients: Sequence[Tensor], values: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Returns the gradient to follow, in place of a weighted sum.

        Args:
            gradients: Tensors of shape (tasks, ...), float32; (tasks, batch, ...) with `values`.
            values: The tensors of the representation, (batch, ...), if the gradients are its own.

        Returns:
            Tensors of shape (...), or (batch, ...).
        """
        leak = ops.convert_to_tensor(self.per_task("leak", self.leak), "float32")
        combined = []
        for index, rows in enumerate(map(ops.convert_to_tensor, gradients)):
            value = None if values is None else values[index]
            share = self.positive_share(rows, value)
            draw = keras.random.uniform(ops.shape(share), seed=self.generator)
            signed = _signed(rows, value)
            kept = ops.where(
                share > draw, signed > 0.0, ops.logical_and(share < draw, signed < 0.0)
            )
            mask = ops.cast(kept, "float32")
            if value is not None:
                mask = mask[:, None]
            leaks = ops.reshape(leak, (-1,) + (1,) * (len(rows.shape) - 1))
            total = ops.sum((leaks + (1.0 - leaks) * mask) * rows, axis=0)
            combined.append(total / self.num_tasks if self.reduction == "mean" else total)
        return combined

    def get_config(self) -> dict[str, Any]:
        return {
            "reduction": self.reduction,
            "leak": self.leak,
            "seed": self.seed,
            **super().get_config(),
        }


def _signed(gradients: Tensor, values: Tensor | None) -> Tensor:
    if values is None:
        return gradients
    return ops.sum(gradients * ops.sign(ops.cast(values, gradients.dtype))[None], axis=1)
