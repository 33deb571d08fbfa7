"""`Reptile` against gradient descent in float64, and under fit."""

import keras
import numpy as np
import pytest

from keras_univrep.models import Reptile
from tests.models import meta_tasks as toys

RATE, EPSILON = 0.3, 0.5


def moved(values: list[np.ndarray], data: toys.Arrays, steps: int, size: int) -> list[np.ndarray]:
    """theta + epsilon (mean of phi - theta)."""
    found = []
    for x, y in zip(*data["support"], strict=True):
        x, y, now = x.astype("float64"), y.astype("float64"), values
        for step in range(steps):
            rows = (step * size + np.arange(size)) % len(x)
            _, slopes = toys.loss_and_slopes(now, x[rows], y[rows])
            now = [v - RATE * slope for v, slope in zip(now, slopes, strict=True)]
        found.append(now)
    means = [np.mean(phis, axis=0) for phis in zip(*found, strict=True)]
    return [v + EPSILON * (mean - v) for v, mean in zip(values, means, strict=True)]


@pytest.mark.parametrize(("size", "vectorize"), [(None, None), (3, None), (3, False)])
def test_a_step_goes_towards_the_mean_of_the_adapted_weights(
    size: int | None, vectorize: bool | None
) -> None:
    values, data = toys.weights(), toys.tasks()
    model = Reptile(toys.network(values), 3, RATE, size, vectorize=vectorize)
    model.compile(keras.optimizers.SGD(EPSILON), "mse")
    logs = model.train_on_batch(data, return_dict=True)
    toys.close(model.network.get_weights(), moved(values, data, 3, size or 4), 1e-5)
    if size is None:
        wanted = toys.meta_loss(values, data, [RATE] * 4, 3)
        np.testing.assert_allclose(logs["loss"], wanted, rtol=1e-5)


def test_it_learns_and_a_saved_model_goes_on(tmp_path) -> None:
    one = toys.tasks(1)
    data = {part: tuple(np.repeat(a, 4, axis=0) for a in one[part]) for part in one}
    model = Reptile(toys.network(toys.weights()), 3, 0.1, 2, test_steps=5)
    model.compile(keras.optimizers.SGD(EPSILON), "mse")
    losses = model.fit(data, batch_size=4, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert {**again.get_config(), "network": 0} == {**model.get_config(), "network": 0}
    np.testing.assert_allclose(again.train_on_batch(data), model.train_on_batch(data), rtol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`inner_batch_size` must be"):
        Reptile(toys.network(toys.weights()), inner_batch_size=0)
