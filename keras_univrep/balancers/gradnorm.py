"""Gradient normalisation."""

from typing import Any

import keras
from keras import ops

from keras_univrep.balancers._gram import TINY, norms
from keras_univrep.balancers.balancer import SCOPES, Balancer, check_choice
from keras_univrep.types import Tensor

FORMS = ("normalized", "softmax")
REFERENCES = ("first_batch", "first_epoch")


@keras.saving.register_keras_serializable(package="keras_univrep")
class GradNorm(Balancer):
    """Learns weights under which the gradients of all tasks have the lengths that they should.

    Equation:
        chen2018, eq. 1 and 2, and algorithm 1:

            N_t = w_t ||g_t||,   r_t = (L_t / L_t(0)) / mean_i(L_i / L_i(0))
            L_grad = sum_t | N_t - mean_i(N_i) r_t^alpha |

        with the target held when L_grad is differentiated by w; after each step w is scaled so
        that its sum is the number of tasks. A task whose loss is zero, as it has no target in the
        batch, is left out of the means, and nothing pulls at its w.

        | symbol | here | shape |
        |---|---|---|
        | ||g_t|| | from `gram` | (tasks,) |
        | L_t(0) | `first`, see `reference` | (tasks,) |
        | w_t | the trainable variable, moved by the model's optimizer | (tasks,) |

    Differences:
        chen2018 takes the gradients of the last shared layer: `scope="last_shared"`. By default
        they are those of all that is shared.
        `form="softmax"` with `reference="first_epoch"` is the variant of LibMTL.

    Args:
        alpha: How strongly the pace of training is evened out.
        form: `"normalized"`, or `"softmax"`: w = tasks softmax(p) with p trained.
        reference: L(0) is that of the `"first_batch"`, or the mean of the `"first_epoch"`, during
            which the weights are 1.
        scope: As for `Balancer`, for instance `"representation"`.

    Example:
        >>> from keras_univrep.balancers import GradNorm
        >>> balancer = GradNorm()
        >>> [float(w) for w in balancer([3.0, 4.0], [[4.0, 0.0], [0.0, 1.0]])]
        [1.0, 1.0]
        >>> gradient = balancer.variable_gradients([3.0, 4.0], [[4.0, 0.0], [0.0, 1.0]])[0]
        >>> [float(g) for g in gradient]
        [2.0, -1.0]

    References:
        - Chen et al., GradNorm: gradient normalization for adaptive loss balancing, 2018.
    """

    needs_gradients = True

    def __init__(
        self,
        alpha: float = 1.5,
        form: str = "normalized",
        reference: str = "first_batch",
        scope: str = "shared",
    ) -> None:
        super().__init__(check_choice("scope", scope, SCOPES))
        self.alpha = float(alpha)
        self.form = check_choice("form", form, FORMS)
        self.reference = check_choice("reference", reference, REFERENCES)

    def make_variables(self) -> None:
        initial = 1.0 if self.form == "normalized" else 0.0
        self.trained = self.add_variable("trained", initial, trains=True)
        self.first = self.add_variable("first")
        self.sums = self.add_variable("sums")
        self.steps = self.add_variable("steps", shape=())

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        if self.form == "normalized":
            return ops.convert_to_tensor(self.trained.value)
        return self.num_tasks * ops.softmax(self.trained.value)

    def targets(self, losses: Tensor, gram: Tensor) -> Tensor:
        """Returns the lengths that the weighted gradients should have.

        Args:
            losses: (tasks,).
            gram: (tasks, tasks).

        Returns:
            `mean_i(N_i) r_t^alpha`, (tasks,); the lengths as they are for tasks left out.
        """
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        lengths = self._lengths(gram)
        known = self._known(losses)
        count = ops.maximum(ops.sum(known), 1.0)
        pace = ops.where(known > 0.0, losses / self._first(losses), 0.0)
        pace = pace * (count / ops.maximum(ops.sum(pace), TINY))
        mean = ops.sum(known * lengths) / count
        # chen2018 eq. 1
        return ops.where(known > 0.0, mean * ops.power(pace, self.alpha), lengths)

    def balance_loss(self, losses: Tensor, gram: Tensor) -> Tensor:
        """Returns L_grad, whose gradient `variable_gradients` is.

        Args:
            losses: (tasks,).
            gram: (tasks, tasks).

        Returns:
            A scalar.
        """
        # chen2018 eq. 2
        return ops.sum(ops.abs(self._lengths(gram) - self.targets(losses, gram)))

    def variable_gradients(self, losses: Tensor, gram: Tensor | None = None) -> list[Tensor]:
        gram = ops.cast(ops.convert_to_tensor(gram), "float32")
        weights = self.weights(losses)
        above = ops.sign(self._lengths(gram) - self.targets(losses, gram))
        by_weights = above * ops.sign(weights) * norms(gram)
        if self.form == "normalized":
            return [by_weights]
        mean = ops.sum(weights * by_weights) / self.num_tasks
        return [weights * (by_weights - mean)]

    def update(self, losses: Tensor, gram: Tensor | None = None) -> None:
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        if self.reference == "first_batch":
            self.first.assign(ops.where(self.first.value > 0.0, self.first.value, losses))
        self.sums.assign_add(losses)
        self.steps.assign_add(1.0)
        if self.form == "normalized":
            weights = self.trained.value
            self.trained.assign(weights * (self.num_tasks / ops.sum(weights)))

    def start_epoch(self) -> None:
        if self.reference != "first_epoch":
            return
        means = self.sums.value / ops.maximum(self.steps.value, 1.0)
        self.first.assign(ops.where(self.first.value > 0.0, self.first.value, means))

    def get_config(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha,
            "form": self.form,
            "reference": self.reference,
            "scope": self.scope,
        }

    def _lengths(self, gram: Tensor) -> Tensor:
        gram = ops.cast(ops.convert_to_tensor(gram), "float32")
        return ops.abs(self.weights(gram)) * norms(gram)

    def _first(self, losses: Tensor) -> Tensor:
        """L(0), as it is or as this batch gives it; 1 for tasks that had no loss so far."""
        first = self.first.value
        if self.reference == "first_batch":
            first = ops.where(first > 0.0, first, losses)
        return ops.where(first > 0.0, first, ops.ones_like(first))

    def _known(self, losses: Tensor) -> Tensor:
        """1 for the tasks that have a loss to compare with a first one, else 0."""
        known = losses > 0.0
        if self.reference == "first_epoch":
            known = ops.logical_and(known, self.first.value > 0.0)
        return ops.cast(known, "float32")
