"""`with_gradients`: first derivatives by formula, second ones by differentiation."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_univrep import backend

X, Y = np.array([1.0, 2.0], "float32"), np.array([3.0, -1.0], "float32")


def cubes(x: object, y: object) -> tuple:
    """Sum of x^3 y, with formulas for its gradients."""
    return ops.sum(x**3 * y), [lambda: 3.0 * x**2 * y, lambda: x**3]


def halves(x: object) -> tuple:
    """A formula that is not the derivative, to see which one is taken."""
    return ops.sum(x), [lambda: 0.5 * ops.ones_like(x)]


def test_value_and_gradients_are_those_of_the_formulas() -> None:
    variables = [keras.Variable(X), keras.Variable(Y)]
    value, _, grads = backend.gradients(
        lambda: (backend.with_gradients(cubes, [v.value for v in variables]), ()), variables
    )
    assert float(value) == -5.0
    np.testing.assert_allclose(ops.convert_to_numpy(grads[0]), [9.0, -12.0])
    np.testing.assert_allclose(ops.convert_to_numpy(grads[1]), [1.0, 8.0])


def test_training_takes_the_formula() -> None:
    variable = keras.Variable(X)
    _, _, (grad,) = backend.gradients(
        lambda: (4.0 * backend.with_gradients(halves, [variable.value]), ()), [variable]
    )
    np.testing.assert_allclose(ops.convert_to_numpy(grad), [2.0, 2.0])


def test_second_derivatives_are_right() -> None:
    def value(values: list) -> tuple:
        return backend.with_gradients(cubes, [values[0], ops.convert_to_tensor(Y)]), ()

    def slope(values: list) -> tuple:
        return ops.sum(backend.value_and_grad(value, values)[1][0]), ()

    _, (second,) = backend.value_and_grad(slope, [ops.convert_to_tensor(X)])
    np.testing.assert_allclose(ops.convert_to_numpy(second), 6.0 * X * Y, rtol=1e-6)


def test_without_a_gradient_the_formulas_are_not_used() -> None:
    def fails() -> None:
        raise RuntimeError

    assert float(backend.with_gradients(lambda x: (ops.sum(x), [fails]), [X])) == 3.0
