"""`adaptation_curve` against gradient steps in NumPy."""

import keras
import numpy as np
import pytest

from keras_univrep.models import adaptation_curve
from tests.harness import bits

RNG = np.random.default_rng(0)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


@pytest.mark.parametrize("vectorize", [True, False])
def test_predictions_are_those_of_gradient_steps_and_nothing_stays(vectorize: bool) -> None:
    model = network()
    x, y = RNG.normal(size=(3, 5, 2)), RNG.normal(size=(3, 5, 1))
    query = RNG.normal(size=(3, 4, 2))
    before = bits(model)
    found = adaptation_curve(model, (x, y), query, 3, 0.1, vectorize=vectorize)
    assert found.shape == (4, 3, 4, 1)
    for task in range(3):
        kernel, bias = (np.array(w, "float64") for w in model.get_weights())
        for step in range(4):
            wanted = query[task] @ kernel + bias
            np.testing.assert_allclose(found[step, task], wanted, rtol=1e-4, atol=1e-5)
            error = 2.0 * (x[task] @ kernel + bias - y[task]) / 5
            kernel, bias = kernel - 0.1 * x[task].T @ error, bias - 0.1 * error.sum(0)
    after = bits(model)
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_what_cannot_be_is_refused() -> None:
    x = np.zeros((2, 3, 2), "float32")
    with pytest.raises(ValueError, match="`steps` must be an integer"):
        adaptation_curve(network(), (x, x[..., :1]), x, steps=-1)
    with pytest.raises(ValueError, match="`support` must be inputs and targets"):
        adaptation_curve(network(), (x, x[:, :2, :1]), x)
