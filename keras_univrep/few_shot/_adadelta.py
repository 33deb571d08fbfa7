"""Adadelta on tensors, of which each entry stands alone."""

from collections.abc import Callable

from keras import ops

from keras_univrep import backend
from keras_univrep.types import Tensor

DECAY, EPSILON = 0.9, 1e-6
"""PyTorch's rho and epsilon, which are not those of Keras."""


def minimize(loss: Callable[[Tensor], Tensor], start: Tensor, rate: Tensor, steps: int) -> Tensor:
    """Runs Adadelta from zero accumulators, as PyTorch does.

    An entry moves by its own gradient alone, so that episodes in one tensor do not mix if the loss
    is their sum.

    Args:
        loss: `loss(values) -> scalar`, the sum over the episodes.
        start: Values to start at, (episodes, ...).
        rate: Learning rate, a tensor that broadcasts to `start`.
        steps: Number of steps.

    Returns:
        The values after the last step, of the shape of `start`.
    """

    def step(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values, squares, moves = state
        _, (gradient,) = backend.value_and_grad(
            lambda entries: (loss(entries[0]), ()), [values], create_graph=False
        )
        squares = DECAY * squares + ops.square(gradient)
        move = ops.sqrt((moves + epsilon) / (squares + epsilon)) * gradient
        moves = DECAY * moves + ops.square(move)
        return values - rate * move, squares, moves

    # Both averages and epsilon stand divided by 1 - DECAY, which their quotient does not show: two
    # passes over the values fewer, and passes are what a step costs.
    epsilon = EPSILON / (1.0 - DECAY)
    zeros = ops.zeros_like(start)
    return ops.fori_loop(0, steps, step, (start, zeros, zeros))[0]
