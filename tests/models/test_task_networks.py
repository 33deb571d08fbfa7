"""`TaskNetworks` against gradient steps in NumPy."""

import keras
import numpy as np
import pytest

from keras_univrep.models import TaskNetworks
from tests.harness import bits

RNG = np.random.default_rng(0)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


@pytest.mark.parametrize("vectorize", [True, False])
def test_each_task_takes_steps_of_its_own(vectorize: bool) -> None:
    model = network()
    copies = TaskNetworks(model, 0.1, vectorize=vectorize)
    x, y = RNG.normal(size=(3, 5, 2)).astype("float32"), RNG.normal(size=(3, 5, 1))
    before = bits(model)
    weights = copies.start(3)
    for _ in range(2):
        weights = copies.adapt(weights, x, y.astype("float32"))
    found = copies.predict(weights, x[:, :4])
    for task in range(3):
        kernel, bias = (np.array(w, "float64") for w in model.get_weights())
        for _ in range(2):
            error = 2.0 * (x[task] @ kernel + bias - y[task]) / 5
            kernel, bias = kernel - 0.1 * x[task].T @ error, bias - 0.1 * error.sum(0)
        np.testing.assert_allclose(found[task], x[task, :4] @ kernel + bias, rtol=1e-4, atol=1e-5)
    after = bits(model)
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_it_begins_with_the_weights_of_the_moment() -> None:
    model = network()
    copies = TaskNetworks(model, 0.1)
    x = RNG.normal(size=(2, 3, 2)).astype("float32")
    copies.predict(copies.start(2), x)
    model.set_weights([weight + 1.0 for weight in model.get_weights()])
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(copies.predict(copies.start(2), x), x @ kernel + bias, rtol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`learning_rate` must be positive"):
        TaskNetworks(network(), 0.0)
    with pytest.raises(ValueError, match="`network` must be built"):
        TaskNetworks(keras.layers.Dense(1), 0.1)
