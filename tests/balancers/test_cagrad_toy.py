"""The two-dimensional example of Liu et al. (2021), and where conflict-averse descent ends."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.balancers import CAGrad
from tests.balancers.helpers import numpy

STARTS = [(-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0)]
RATE, DECAY = 5e-3, (0.9, 0.999)


def losses_and_slopes(point):
    """Losses (2,) and their gradients (2, 2): logarithms above y = 0, parabolas below."""
    x, y = point[0], point[1]
    tanh = ops.tanh(y)
    above, below = (ops.maximum(ops.tanh(sign * y / 2.0), 0.0) for sign in (1.0, -1.0))
    # Of max(tanh(y / 2), 0) and max(tanh(-y / 2), 0) by y.
    slope_above = 0.5 * ops.where(y > 0.0, 1.0 - above**2, 0.0)
    slope_below = -0.5 * ops.where(y < 0.0, 1.0 - below**2, 0.0)
    losses, slopes = [], []
    for inner, centre in ((-0.5 * (x + 7.0) + tanh, 7.0), (0.5 * (3.0 - x) + tanh + 2.0, -7.0)):
        size = ops.maximum(ops.abs(inner), 5e-6)
        logarithm = ops.log(size) + 6.0
        steep = ops.where(ops.abs(inner) > 5e-6, ops.sign(inner) / size, 0.0)
        parabola = ((centre - x) ** 2 + 0.1 * (y + 8.0) ** 2) / 10.0 - 20.0
        losses.append(logarithm * above + parabola * below)
        by_x = -0.5 * steep * above - 0.2 * (centre - x) * below
        by_y = steep * (1.0 - tanh**2) * above + 0.02 * (y + 8.0) * below
        slopes.append([by_x, by_y + logarithm * slope_above + parabola * slope_below])
    return ops.stack(losses), ops.stack([ops.stack(row) for row in slopes])


def descent(balancer: CAGrad) -> Callable:
    """A step of Adam along what the balancer chooses."""

    def step(_, state):
        point, first, second, count = state
        losses, slopes = losses_and_slopes(point)
        gram = ops.matmul(slopes, ops.transpose(slopes))
        gradient = ops.matmul(balancer.weights(losses, gram)[None], slopes)[0]
        count = count + 1.0
        first = DECAY[0] * first + (1.0 - DECAY[0]) * gradient
        second = DECAY[1] * second + (1.0 - DECAY[1]) * gradient**2
        scale = ops.sqrt(second / (1.0 - DECAY[1] ** count)) + 1e-8
        return point - RATE * first / (1.0 - DECAY[0] ** count) / scale, first, second, count

    return step


def compiled(fn: Callable) -> Callable:
    """The function as the backend compiles it; PyTorch runs it as it stands."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(fn)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(fn, jit_compile=True)
    return fn


def test_slopes_are_those_of_the_losses() -> None:
    for place in (*STARTS, (1.0, -3.0), (0.0, -8.3)):
        found = numpy(losses_and_slopes(ops.convert_to_tensor(place, "float32"))[1])
        for axis in range(2):
            move = 1e-2 * np.eye(2)[axis]
            ends = [
                numpy(losses_and_slopes(ops.convert_to_tensor(end, "float32"))[0])
                for end in (place + move, place - move)
            ]
            np.testing.assert_allclose(found[:, axis], (ends[0] - ends[1]) / 2e-2, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS, ids=str)
def test_ends_where_both_losses_are_least(start: tuple[float, float]) -> None:
    """All three starts reach the best point of the Pareto set, as in the paper's figure 1."""
    balancer = CAGrad(c=0.5, rescale=2, iterations=12)
    balancer.build(2)
    step = descent(balancer)
    run = compiled(lambda *state: ops.fori_loop(0, 1000, step, state))
    state = (ops.convert_to_tensor(start, "float32"), ops.zeros(2), ops.zeros(2), ops.zeros(()))
    for _ in range(45):
        state = run(*state)
    np.testing.assert_allclose(numpy(state[0]), (0.0, -8.355), atol=0.02)
    np.testing.assert_allclose(numpy(losses_and_slopes(state[0])[0]), -15.092, atol=0.01)
