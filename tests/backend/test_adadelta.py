"""`adadelta` against Zeiler's algorithm 1 in float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend


def oracle(
    start: np.ndarray, rates: np.ndarray, steps: int, decay: float = 0.9, epsilon: float = 1e-6
) -> np.ndarray:
    """Minimises the sum of (x - 1)^4."""
    x = start.astype("float64")
    squares, moves = np.zeros_like(x), np.zeros_like(x)
    for _ in range(steps):
        gradient = 4.0 * (x - 1.0) ** 3
        squares = decay * squares + (1.0 - decay) * gradient**2
        move = np.sqrt(moves + epsilon) / np.sqrt(squares + epsilon) * gradient
        moves = decay * moves + (1.0 - decay) * move**2
        x = x - rates * move
    return x


# The last two shapes are more than one piece of a CPU's cache on PyTorch, with remainders.
@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 4), (3, 30_001), (2, 300, 301)])
def test_equals_zeiler_in_float64(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape).astype("float32")
    rates = rng.uniform(0.5, 2.0, (shape[0], *[1] * (len(shape) - 1))).astype("float32")
    kept = ops.convert_to_tensor(start.copy())
    actual = backend.adadelta(lambda x: 4.0 * (x - 1.0) ** 3, kept, rates, 5)
    np.testing.assert_allclose(ops.convert_to_numpy(actual), oracle(start, rates, 5), atol=2e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(kept), start)


def test_decay_and_epsilon_are_those_asked_for() -> None:
    start, rates = np.array([[0.0, 3.0]], "float32"), np.ones((1, 1), "float32")
    actual = backend.adadelta(lambda x: 4.0 * (x - 1.0) ** 3, start, rates, 4, 0.5, 1e-3)
    expected = oracle(start, rates, 4, 0.5, 1e-3)
    assert np.abs(expected - oracle(start, rates, 4)).max() > 1e-2
    np.testing.assert_allclose(ops.convert_to_numpy(actual), expected, atol=1e-6)


def test_no_step_changes_nothing_and_a_zero_gradient_moves_nothing() -> None:
    start, rates = np.array([[1.0, 2.0]], "float32"), np.ones((1, 1), "float32")
    for gradient, steps in ((lambda x: 2.0 * x, 0), (lambda x: 0.0 * x, 9)):
        actual = backend.adadelta(gradient, start, rates, steps)
        np.testing.assert_array_equal(ops.convert_to_numpy(actual), start)


def test_runs_inside_a_compiled_function() -> None:
    class Minimum(keras.layers.Layer):
        def call(self, inputs):  # noqa: ANN001, ANN202
            return backend.adadelta(lambda x: 4.0 * (x - 1.0) ** 3, inputs, ops.ones((1, 1)), 3)

    model = keras.Sequential([Minimum()])
    start = np.array([[0.0, 3.0], [2.0, 1.0]], "float32")
    expected = oracle(start, np.ones((1, 1)), 3)
    np.testing.assert_allclose(model.predict(start, verbose=0), expected, atol=1e-6)
