"""`value_and_grad` against float64 central differences, second order included."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization

RNG = np.random.default_rng(1)
X, W, TARGET = RNG.normal(size=(6, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=(6, 2))
RATE, EPSILON = 0.3, 1e-5


def loss_oracle(w: np.ndarray) -> float:
    z = X @ w
    y = (z - z.mean(0)) / np.sqrt(z.var(0) + EPSILON)
    return float(np.mean((y + z**2 - TARGET) ** 2))


def differences(fn: object, w: np.ndarray, step: float) -> np.ndarray:
    grad = np.zeros_like(w)
    for index in np.ndindex(w.shape):
        shift = np.zeros_like(w)
        shift[index] = step
        grad[index] = (fn(w + shift) - fn(w - shift)) / (2 * step)
    return grad


def adapted_oracle(w: np.ndarray) -> float:
    return loss_oracle(w - RATE * differences(loss_oracle, w, 1e-5))


def make() -> tuple[object, BatchNormalization]:
    layer = BatchNormalization(epsilon=EPSILON)
    layer.build((None, 2))

    def loss(values: list) -> tuple:
        z = ops.matmul(X.astype("float32"), values[0])
        y = layer(z, training=True)
        error = ops.subtract(y + ops.square(z), TARGET.astype("float32"))
        return ops.mean(ops.square(error)), {"name": "z"}

    return loss, layer


def test_value_and_gradient_equal_central_differences() -> None:
    loss, layer = make()
    (value, aux), (grad,) = backend.value_and_grad(loss, [W.astype("float32")])
    assert aux == {"name": "z"}
    np.testing.assert_allclose(float(value), loss_oracle(W), rtol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(grad), differences(loss_oracle, W, 1e-5), rtol=1e-4, atol=1e-5
    )
    moving = ops.convert_to_numpy(layer.moving_mean)
    np.testing.assert_allclose(moving, 0.1 * (X @ W).mean(0), rtol=1e-5, atol=1e-6)


def test_values_that_do_not_matter_have_zero_gradient() -> None:
    _, grads = backend.value_and_grad(lambda v: (v[0] * 2.0, ()), [1.0, np.ones(2, "float32")])
    assert float(grads[0]) == 2.0
    np.testing.assert_array_equal(ops.convert_to_numpy(grads[1]), [0.0, 0.0])


@pytest.mark.parametrize("create_graph", [True, False])
def test_meta_gradient_through_batch_normalization(create_graph: bool) -> None:
    loss, layer = make()
    pure = backend.functional(loss, layer.variables)
    w = keras.Variable(W.astype("float32"))
    state = [v.value for v in layer.variables]

    def inner(values: list) -> tuple:
        (value, _), _ = pure(state, values)
        return value, ()

    def outer() -> tuple:
        _, (grad,) = backend.value_and_grad(inner, [w.value], create_graph=create_graph)
        return inner([w.value - RATE * grad])[0], ()

    value, _, (grad,) = backend.gradients(outer, [w])
    step = differences(loss_oracle, W, 1e-5)
    expected = (
        differences(adapted_oracle, W, 1e-3)
        if create_graph
        else differences(lambda v: loss_oracle(v - RATE * step), W, 1e-5)
    )
    np.testing.assert_allclose(float(value), adapted_oracle(W), rtol=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(grad), expected, rtol=2e-3, atol=2e-4)


def test_inner_loop_trains_the_start_under_fit() -> None:
    class Meta(backend.TrainStep, keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.start = self.add_weight(shape=(3, 1), initializer="ones", name="start")

        def call(self, inputs: object) -> object:
            return ops.matmul(inputs, self.start)

        def update(self, data: tuple) -> dict:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)

            def error(values: list) -> tuple:
                return ops.mean(ops.square(ops.matmul(x, values[0]) - y)), ()

            def outer() -> tuple:
                _, (grad,) = backend.value_and_grad(error, [self.start.value])
                return error([self.start.value - 0.1 * grad])

            variables = [self.start]
            loss, _, grads = backend.gradients(outer, variables, self.optimizer)
            backend.apply_gradients(self.optimizer, grads, variables)
            self.track_loss(loss, x)
            return self.compute_metrics(x, y, None)

    model = Meta()
    model.build((None, 3))
    model.compile(keras.optimizers.SGD(0.05))
    x = X.astype("float32")
    start = np.ones((3, 1))
    losses = model.fit(x, x[:, :1], batch_size=6, epochs=3, verbose=0).history["loss"]

    def adapted(w: np.ndarray) -> float:
        target = x[:, :1].astype("float64")
        data = x.astype("float64")
        w = w - 0.1 * 2 * data.T @ (data @ w - target) / 6
        return float(np.mean((data @ w - target) ** 2))

    expected = []
    for _ in range(3):
        expected.append(adapted(start))
        start = start - 0.05 * differences(adapted, start, 1e-5)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
