"""`vjp`, `gradients` and `functional` against central differences of NumPy float64."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=(4,))
CO_VECTOR, CO_SCALAR = RNG.normal(size=(5, 4)), 0.7


def outputs_oracle(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.floating]:
    return np.tanh(x @ w + b), np.mean((x @ w) ** 2)


def central_differences(
    fn: Callable[..., float], args: list[np.ndarray], step: float = 1e-5
) -> list[np.ndarray]:
    grads = []
    for position, arg in enumerate(args):
        grad = np.zeros_like(arg)
        for index in np.ndindex(arg.shape):
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in args]
                moved[position][index] += sign * step
                values.append(fn(*moved))
            grad[index] = (values[0] - values[1]) / (2 * step)
        grads.append(grad)
    return grads


def make() -> tuple[Callable, list[keras.Variable]]:
    w, b = keras.Variable(W.astype("float32")), keras.Variable(B.astype("float32"))

    def fn(x: object) -> tuple[list, dict]:
        product = ops.matmul(x, w)
        return [ops.tanh(product + b), ops.mean(ops.square(product))], {"shape": (5, 4), "p": x}

    return fn, [w, b]


def assert_close(actual: list, expected: list[np.ndarray]) -> None:
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), e, rtol=1e-4, atol=1e-5)


def test_pullback_equals_central_differences() -> None:
    fn, variables = make()
    outputs, aux, pullback = backend.vjp(fn, variables, [X.astype("float32")])
    assert_close(outputs, list(outputs_oracle(X, W, B)))
    assert aux["shape"] == (5, 4)
    assert_close([aux["p"]], [X])

    def paired(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> float:
        first, second = outputs_oracle(x, w, b)
        return float(np.sum(first * CO_VECTOR) + CO_SCALAR * second)

    variable_grads, input_grads = pullback([CO_VECTOR.astype("float32"), CO_SCALAR])
    assert_close(input_grads + variable_grads, central_differences(paired, [X, W, B]))


def test_one_forward_pass_serves_several_pullbacks() -> None:
    calls = []
    fn, variables = make()

    def counted(x: object) -> tuple[list, dict]:
        calls.append(1)
        return fn(x)

    _, _, pullback = backend.vjp(counted, variables, [X.astype("float32")])
    zeros, ones = np.zeros((5, 4), "float32"), np.ones((5, 4), "float32")
    first, _ = pullback([ones, 0.0])
    second, _ = pullback([zeros, 1.0])
    both, _ = pullback([ones, 1.0])
    assert len(calls) == 1
    assert_close(both, [ops.convert_to_numpy(p + q) for p, q in zip(first, second, strict=True)])
    expected = central_differences(lambda w: float(outputs_oracle(X, w, B)[1]), [W])
    assert_close(second[:1], expected)


def test_an_output_without_a_cotangent_counts_for_nothing() -> None:
    fn, variables = make()
    _, _, pullback = backend.vjp(fn, variables, [X.astype("float32")])
    zeros = np.zeros((5, 4), "float32")
    for given, same in (([None, 1.0], [zeros, 1.0]), ([None, None], [zeros, 0.0])):
        found, expected = pullback(given), pullback(same)
        assert_close(found[0] + found[1], expected[0] + expected[1])


def test_what_leads_to_such_an_output_alone_is_not_passed_through() -> None:
    a, b = keras.Variable(2.0), keras.Variable(0.0)
    # Where the slope is infinite, a zero times it would be NaN.
    _, _, pullback = backend.vjp(lambda: ([a * a + b, 1.0 / b], ()), [a, b])
    assert np.isnan(ops.convert_to_numpy(pullback([1.0, 0.0])[0][1]))
    assert_close(pullback([1.0, None])[0], [4.0, 1.0])


def test_what_does_not_matter_has_zero_gradient() -> None:
    used, unused = keras.Variable([1.0, 2.0]), keras.Variable([3.0])
    _, _, pullback = backend.vjp(
        lambda x: (ops.sum(used * 2.0), ()), [used, unused], [np.ones((2, 2), "float32")]
    )
    (used_grad, unused_grad), (input_grad,) = pullback(1.0)
    assert_close([used_grad, unused_grad, input_grad], [[2.0, 2.0], [0.0], np.zeros((2, 2))])


def test_frozen_variables_have_gradients_too() -> None:
    variable = keras.Variable([1.0, 2.0], trainable=False)
    counter = keras.Variable(0.0, trainable=False)

    def fn() -> tuple[object, tuple]:
        counter.assign(counter + 1.0)
        return ops.sum(ops.square(variable)), ()

    _, _, pullback = backend.vjp(fn, [variable])
    assert_close(pullback(1.0)[0], [[2.0, 4.0]])
    assert float(counter) == 1.0


def test_gradients_of_lookups_are_dense() -> None:
    layer = keras.layers.Embedding(4, 2)
    layer.build((None,))
    rows = np.array([1, 1, 3])
    _, _, (grad,) = backend.gradients(lambda: (ops.sum(layer(rows)), ()), layer.variables)
    assert_close([grad], [[[0, 0], [2, 2], [0, 0], [1, 1]]])


def test_state_written_inside_is_carried_out() -> None:
    layer = keras.layers.BatchNormalization(momentum=0.5)
    dropout = keras.layers.Dropout(0.5, seed=0)
    metric = keras.metrics.Mean()
    layer.build((None, 3))
    seed = ops.convert_to_numpy(dropout.seed_generator.state)

    def fn() -> tuple[object, tuple]:
        loss = ops.sum(dropout(layer(X.astype("float32"), training=True), training=True))
        metric.update_state(3.0)
        return loss, ()

    backend.vjp(fn, layer.trainable_variables)
    assert_close([layer.moving_mean], [0.5 * X.mean(0)])
    assert float(metric.result()) == 3.0
    assert not np.array_equal(ops.convert_to_numpy(dropout.seed_generator.state), seed)


def test_regularization_losses_count_although_their_variable_is_not_asked_for() -> None:
    first = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.1))
    second = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([first, second])
    model.build((None, 3))
    x = X.astype("float32")
    loss, _, (grad,) = backend.gradients(
        lambda: (ops.sum(model(x)) + sum(model.losses), ()), [second.kernel]
    )
    kernel, bias = (ops.convert_to_numpy(v) for v in first.variables)
    hidden = X @ kernel + bias
    assert_close([grad], [hidden.sum(0)[:, None]])
    expected = (hidden @ ops.convert_to_numpy(second.kernel)).sum() + 0.1 * (kernel**2).sum()
    assert_close([loss], [expected])


def test_gradients_carry_the_loss_scale_and_the_loss_does_not() -> None:
    variable = keras.Variable(3.0)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=8.0)
    loss, _, (grad,) = backend.gradients(lambda: (variable * variable, ()), [variable], optimizer)
    assert float(loss) == 9.0
    assert float(grad) == 48.0


def test_functional_substitutes_values_and_returns_states_without_a_trace() -> None:
    layer = keras.layers.BatchNormalization(momentum=0.5)
    layer.build((None, 3))
    pure = backend.functional(
        lambda x: layer(x, training=True),
        layer.trainable_variables,
        [layer.moving_mean, layer.moving_variance],
    )
    gamma, beta = ops.full((3,), 2.0), ops.full((3,), 5.0)
    outputs, (mean, _) = pure([gamma, beta], X.astype("float32"))
    expected = 2.0 * (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3) + 5.0
    assert_close([outputs, mean], [expected, 0.5 * X.mean(0)])
    assert_close([layer.gamma, layer.moving_mean], [np.ones(3), np.zeros(3)])


def test_nested_scopes_inherit_and_inner_values_win() -> None:
    a, b = keras.Variable(1.0), keras.Variable(1.0)
    with backend.Scope([(a, ops.ones(()) * 2.0), (b, ops.ones(()) * 3.0)]):
        with backend.Scope([(a, ops.ones(()) * 5.0)]):
            assert float(a * b) == 15.0
        assert float(a * b) == 6.0
    assert float(a * b) == 1.0


def test_refuses_what_is_not_a_variable() -> None:
    with pytest.raises(TypeError, match="keras.Variable"):
        backend.vjp(lambda: (0.0, ()), [ops.ones(())])


def test_refuses_variables_that_a_layer_casts() -> None:
    class Inner(keras.layers.Layer):
        def build(self, input_shape: tuple) -> None:
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, inputs: object) -> object:
            loss, _, _ = backend.gradients(lambda: (self.scale * 2.0, ()), [self.scale])
            return inputs * loss

    layer = Inner(dtype="mixed_bfloat16")
    layer.build((2,))
    with pytest.raises(ValueError, match="reads as itself"):
        layer(np.ones((2,), "float32"))


def test_functional_refuses_a_wrong_number_of_values() -> None:
    pure = backend.functional(lambda: 0.0, [keras.Variable(1.0)])
    with pytest.raises(ValueError, match="one entry per entry"):
        pure([])
