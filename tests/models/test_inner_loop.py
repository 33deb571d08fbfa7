"""Inner steps against float64, and that nothing of a task stays."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization
from keras_univrep.models._inner_loop import (
    adapt,
    check_differentiable_twice,
    check_no_randomness,
    convolves,
    joins_tasks,
    network_function,
    over_tasks,
    writes_out,
)

RNG = np.random.default_rng(3)
A, B = RNG.normal(size=(4, 2)), RNG.normal(size=4)


def loss_oracle(v: np.ndarray) -> float:
    return float(np.mean((np.tanh(A @ v) - B) ** 2))


def slope(v: np.ndarray) -> np.ndarray:
    t = np.tanh(A @ v)
    return (2 * (t - B) * (1 - t**2)) @ A / len(A)


def loss(values: list, number: object) -> object:
    t = ops.tanh(ops.matmul(A.astype("float32"), ops.reshape(values[0], (2, 1))))[:, 0]
    return ops.mean(ops.square(t - ops.convert_to_tensor(B.astype("float32"))))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_steps_and_losses_are_those_of_gradient_descent(steps: int) -> None:
    start = v = np.array([0.3, -0.2])
    seen = []
    for _ in range(steps):
        seen.append(loss_oracle(v))
        v = v - 0.5 * slope(v)
    variable = keras.Variable(start.astype("float32"))
    (found,), losses = adapt(loss, [variable], 0.5, steps)
    np.testing.assert_allclose(ops.convert_to_numpy(found), v, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(losses), seen, rtol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), start.astype("float32"))


@pytest.mark.parametrize("first_order", [True, False])
def test_gradients_by_values_and_rates_equal_central_differences(first_order: bool) -> None:
    start, rate = np.array([0.3, -0.2]), 0.5

    def adapted(v: np.ndarray, rate: float, shifts: np.ndarray | None = None) -> float:
        for step in range(2):
            v = v - rate * (slope(v) if shifts is None else shifts[step])
        return loss_oracle(v)

    # The gradients of the steps, that first order takes for constants.
    second = start - rate * slope(start)
    shifts = np.stack([slope(start), slope(second)]) if first_order else None
    e = 1e-5
    wanted = [
        (adapted(start + d, rate, shifts) - adapted(start - d, rate, shifts)) / (2 * e)
        for d in e * np.eye(2)
    ]
    by_rate = (adapted(start, rate + e, shifts) - adapted(start, rate - e, shifts)) / (2 * e)
    variables = [keras.Variable(start.astype("float32")), keras.Variable(rate)]

    def outer() -> tuple:
        values, _ = adapt(loss, variables[:1], [variables[1].value + 0.0], 2, first_order)
        return loss(values, 0), ()

    _, _, (grad, rate_grad) = backend.gradients(outer, variables)
    np.testing.assert_allclose(ops.convert_to_numpy(grad), wanted, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(float(rate_grad), by_rate, rtol=1e-3, atol=1e-5)


def network() -> tuple[keras.Model, BatchNormalization]:
    norm = BatchNormalization(epsilon=1e-5)
    model = keras.Sequential([keras.Input((2,)), norm, keras.layers.Dense(1)])
    return model, norm


def test_a_network_is_normalised_by_its_batch_and_keeps_nothing() -> None:
    model, norm = network()
    before = [ops.convert_to_numpy(v).copy() for v in model.weights]
    forward = network_function(model)
    values = [ops.convert_to_tensor(v.value) for v in model.trainable_variables]
    x = RNG.normal(2.0, 3.0, size=(5, 2)).astype("float32")
    outputs, moments = forward(values, ops.convert_to_tensor(x))
    kernel = ops.convert_to_numpy(model.layers[-1].kernel)

    def oracle(x: np.ndarray, by: np.ndarray) -> np.ndarray:
        return (x - by.mean(0)) / np.sqrt(by.var(0) + 1e-5) @ kernel

    np.testing.assert_allclose(ops.convert_to_numpy(outputs), oracle(x, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(moments[1]), x.var(0), rtol=1e-4)
    other = RNG.normal(size=(3, 2)).astype("float32")
    again, _ = forward(values, ops.convert_to_tensor(other), moments)
    np.testing.assert_allclose(ops.convert_to_numpy(again), oracle(other, x), rtol=1e-4, atol=1e-5)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    # A frozen one goes by its moving moments.
    norm.trainable = False
    values = [ops.convert_to_tensor(v.value) for v in model.trainable_variables]
    frozen, none = network_function(model)(values, ops.convert_to_tensor(x))
    assert not none
    np.testing.assert_allclose(ops.convert_to_numpy(frozen), x @ kernel, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("vectorize, unroll", [(True, False), (False, False), (False, True)])
@pytest.mark.parametrize("tasks", [1, 3])
def test_tasks_are_computed_alone(vectorize: bool, unroll: bool, tasks: int) -> None:
    x = RNG.normal(size=(tasks, 4, 2)).astype("float32")
    scale = np.arange(1.0, tasks + 1, dtype="float32")
    arrays = [ops.convert_to_tensor(x), ops.convert_to_tensor(scale)]
    total, (scaled,) = over_tasks(
        lambda parts: (ops.sum(parts[0]), [parts[0] * parts[1]]), arrays, vectorize, unroll
    )
    np.testing.assert_allclose(ops.convert_to_numpy(total), x.sum((1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(scaled), x * scale[:, None, None], rtol=1e-6)


def test_the_form_of_the_loops_follows_from_network_backend_and_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = keras.backend.backend()
    dense = network()[0]
    images = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    assert convolves(images) and not convolves(dense)
    for processor in (True, False):
        monkeypatch.setattr(backend, "on_processor", lambda processor=processor: processor)
        assert joins_tasks(dense)
        assert joins_tasks(images) == (name != "torch" or not processor)
        few, many = (writes_out(images, tasks, 5) for tasks in (2, 2000))
        assert not many and few == (name == "jax" and processor)
        assert not writes_out(images, None, 5)
        assert not writes_out(dense, 2, 5)


def test_what_cannot_adapt_is_refused() -> None:
    dropping = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5)])
    with pytest.raises(ValueError, match="`network` must not draw random numbers"):
        check_no_randomness(dropping, "network")
    check_no_randomness(keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.0)]), "network")
    stock = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(ValueError, match="differentiable twice"):
            check_differentiable_twice(stock)
    else:
        check_differentiable_twice(stock)
    check_differentiable_twice(network()[0])
