"""`ANIL` against float64 with central differences, and under fit."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.models import ANIL
from tests.models import meta_tasks as toys

RATE = 0.3
# Of the variables of body and head.
RATES = [0.0, 0.0, RATE, RATE]


def compiled(model: ANIL) -> ANIL:
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("vectorize", [None, False])
def test_loss_and_meta_gradient_equal_central_differences(
    first_order: bool, vectorize: bool | None
) -> None:
    values, data = toys.weights(), toys.tasks()
    model = ANIL(*toys.parts(values), 3, RATE, first_order, vectorize=vectorize)
    loss, grads = toys.loss_and_gradients(compiled(model), data)
    np.testing.assert_allclose(loss, toys.meta_loss(values, data, RATES, 3), rtol=1e-5)
    shift_at = values if first_order else None
    wanted = toys.differences(lambda v: toys.meta_loss(v, data, RATES, 3, shift_at), values)
    toys.close(grads, wanted)


def test_learned_rates_are_of_the_head() -> None:
    values, data = toys.weights(), toys.tasks()
    model = compiled(ANIL(*toys.parts(values), 2, RATE, learn_rates="variable"))
    _, grads = toys.loss_and_gradients(model, data)
    wanted = toys.differences(
        lambda r: toys.meta_loss(values, data, [0.0, 0.0, *r], 2), [np.array(RATE)] * 2
    )
    toys.close(grads[4:], wanted)


@pytest.mark.parametrize("moments", ["batch", "support"])
def test_convolutions_train_and_keep_nothing_of_a_batch(moments: str, tmp_path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2, 3, 4, 4, 1), "float32")
    y = np.array([[0, 1, 0], [1, 0, 1]])
    data = {"support": (x, y), "query": (x[:, ::-1], y[:, ::-1])}
    keras.utils.set_random_seed(0)
    norm = BatchNormalization()
    body = keras.Sequential([keras.Input((4, 4, 1)), Conv2D(2, 3), norm, keras.layers.Flatten()])
    head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    found = []
    for vectorize in (True, False):
        model = ANIL(body, head, 2, 0.1, query_moments=moments, vectorize=vectorize)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
        found.append(toys.loss_and_gradients(model, data))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    toys.close(found[0][1], found[1][1], 1e-2)
    model.train_on_batch(data)
    np.testing.assert_array_equal(ops.convert_to_numpy(norm.moving_mean), np.zeros(2))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.predict(data, verbose=0), model.predict(data, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_what_cannot_be_is_refused() -> None:
    body, head = toys.parts(toys.weights())
    with pytest.raises(ValueError, match="`head` must be a built"):
        ANIL(body, keras.layers.Dense(2))
    with pytest.raises(ValueError, match="`backbone` must not draw"):
        ANIL(keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5)]), head)
