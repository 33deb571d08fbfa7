"""`repeat`, and `apply_gradients` under a condition."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_state_goes_from_step_to_step(steps: int, unroll: bool) -> None:
    def body(number: object, state: dict) -> tuple:
        x, total = state["x"], state["total"]
        return {"x": 0.5 * x + ops.cast(number, "float32"), "total": total + x}, ops.sum(x)

    start = np.array([1.0, 2.0], "float32")
    state = {"x": ops.convert_to_tensor(start), "total": ops.zeros((2,))}
    state, seen = backend.repeat(body, state, steps, unroll)
    x, total, sums = start, np.zeros(2), []
    for number in range(steps):
        sums.append(x.sum())
        x, total = 0.5 * x + number, total + x
    np.testing.assert_allclose(ops.convert_to_numpy(state["x"]), x, rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(state["total"]), total, rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(seen), sums, rtol=1e-6)


@pytest.mark.parametrize("unroll", [False, True])
def test_it_can_be_differentiated(unroll: bool) -> None:
    def power(values: list) -> tuple:
        state, _ = backend.repeat(lambda number, x: (x * x, x), values[0], 3, unroll)
        return state, ()

    (value, _), (grad,) = backend.value_and_grad(power, [ops.convert_to_tensor(1.1)])
    np.testing.assert_allclose([float(value), float(grad)], [1.1**8, 8 * 1.1**7], rtol=1e-5)


@pytest.mark.parametrize("condition", [True, False])
def test_gradients_are_applied_under_the_condition_alone(condition: bool) -> None:
    variable, optimizer = keras.Variable(1.0), keras.optimizers.Adam(0.1)
    backend.apply_gradients(optimizer, [1.0], [variable])
    before = [float(v) for v in (variable, *optimizer.variables)]
    given = ops.convert_to_tensor(condition)
    backend.apply_gradients(optimizer, [1.0], [variable], condition=given)
    after = [float(v) for v in (variable, *optimizer.variables)]
    assert (before == after) != condition
