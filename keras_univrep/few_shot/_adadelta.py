"""Adadelta on tensors, of which each entry stands alone."""

from collections.abc import Callable

from keras_univrep import backend
from keras_univrep.types import Tensor


def minimize(loss: Callable[[Tensor], Tensor], start: Tensor, rate: Tensor, steps: int) -> Tensor:
    """Runs PyTorch's Adadelta on a loss that has no gradient by hand.

    An entry moves by its own gradient alone, so that episodes in one tensor do not mix if the loss
    is their sum.

    Args:
        loss: `loss(values) -> scalar`, the sum over the episodes.
        start: Values to start at, (episodes, ...).
        rate: Learning rates, (episodes, 1, ...) with the axes of `start`.
        steps: Number of steps.

    Returns:
        The values after the last step, of the shape of `start`.
    """

    def gradient(values: Tensor) -> Tensor:
        found = backend.value_and_grad(
            lambda entries: (loss(entries[0]), ()), [values], create_graph=False
        )
        return found[1][0]

    return backend.adadelta(gradient, start, rate, steps)
