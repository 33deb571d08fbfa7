"""Tasks of vectors, a small network for them, and what they give in float64."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_univrep.models import MetaLearner
from keras_univrep.models._meta_batch import meta_batch

Arrays = dict[str, tuple[np.ndarray, ...]]
SIZES = (2, 3, 1)


def tasks(count: int = 2, support: int = 4, query: int = 5, seed: int = 0) -> Arrays:
    """Each task is a plane, bent by a sine."""
    rng = np.random.default_rng(seed)
    found = {}
    planes = rng.normal(size=(count, 2, 1))
    for part, size in (("support", support), ("query", query)):
        x = rng.normal(size=(count, size, 2))
        found[part] = (x.astype("float32"), np.sin(x @ planes).astype("float32"))
    return found


def weights(seed: int = 1) -> list[np.ndarray]:
    """Kernels and biases of the two layers."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(scale=0.7, size=shape)
        for shape in ((SIZES[0], SIZES[1]), (SIZES[1],), (SIZES[1], SIZES[2]), (SIZES[2],))
    ]


def network(values: list[np.ndarray]) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((SIZES[0],)),
            keras.layers.Dense(SIZES[1], "tanh"),
            keras.layers.Dense(SIZES[2]),
        ]
    )
    model.set_weights([v.astype("float32") for v in values])
    return model


def parts(values: list[np.ndarray]) -> tuple[keras.Model, keras.Model]:
    """The same in two."""
    body = keras.Sequential([keras.Input((SIZES[0],)), keras.layers.Dense(SIZES[1], "tanh")])
    head = keras.Sequential([keras.Input((SIZES[1],)), keras.layers.Dense(SIZES[2])])
    body.set_weights([v.astype("float32") for v in values[:2]])
    head.set_weights([v.astype("float32") for v in values[2:]])
    return body, head


def predict(values: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.tanh(x @ values[0] + values[1]) @ values[2] + values[3]


def loss_and_slopes(
    values: list[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    """Mean squared error, and its gradients by hand."""
    hidden = np.tanh(x @ values[0] + values[1])
    error = hidden @ values[2] + values[3] - y
    by_output = 2 * error / error.size
    by_hidden = by_output @ values[2].T * (1 - hidden**2)
    slopes = [x.T @ by_hidden, by_hidden.sum(0), hidden.T @ by_output, by_output.sum(0)]
    return float(np.mean(error**2)), slopes


def adapted(
    values: list[np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    rates: list[float | np.ndarray],
    steps: int,
    shift_at: list[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Values after gradient steps; with `shift_at`, moved as much as from there."""
    start = values if shift_at is None else shift_at
    now = [v.copy() for v in start]
    for _ in range(steps):
        _, slopes = loss_and_slopes(now, x, y)
        now = [v - rate * slope for v, rate, slope in zip(now, rates, slopes, strict=True)]
    return [v + (after - before) for v, after, before in zip(values, now, start, strict=True)]


def meta_loss(
    values: list[np.ndarray],
    data: Arrays,
    rates: list[float | np.ndarray],
    steps: int,
    shift_at: list[np.ndarray] | None = None,
) -> float:
    """Mean over the tasks of the loss of the queries after adaptation."""
    found = []
    for task in range(len(data["support"][0])):
        x, y = (array[task].astype("float64") for array in data["support"])
        moved = adapted(values, x, y, rates, steps, shift_at)
        x, y = (array[task].astype("float64") for array in data["query"])
        found.append(loss_and_slopes(moved, x, y)[0])
    return float(np.mean(found))


def differences(
    fn: Callable[[list[np.ndarray]], float], values: list[np.ndarray], e: float = 1e-5
) -> list[np.ndarray]:
    """Gradients by central differences, variable by variable."""
    grads = []
    for number, value in enumerate(values):
        grad = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            sides = []
            for sign in (1, -1):
                moved = [v.copy() for v in values]
                moved[number][index] += sign * e
                sides.append(fn(moved))
            grad[index] = (sides[0] - sides[1]) / (2 * e)
        grads.append(grad)
    return grads


def loss_and_gradients(model: MetaLearner, data: Arrays) -> tuple[float, list[np.ndarray]]:
    """The loss of a batch and its gradients; the weights stay."""
    if keras.backend.backend() == "jax":
        # From a step, which JAX compiles in one piece: operation by operation takes longer.
        optimizer, before = model.optimizer, model.get_weights()
        model.compile(keras.optimizers.SGD(1.0), model.task_loss, inner_loss=model.inner_loss)
        starts = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        loss = model.train_on_batch(data, return_dict=True)["loss"]
        ends = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        model.set_weights(before)
        model.compile(optimizer, model.task_loss, inner_loss=model.inner_loss)
        return float(loss), [start - end for start, end in zip(starts, ends, strict=True)]
    loss, _, grads = model.meta_gradients(meta_batch(data), model.trainable_variables)
    return float(loss), [ops.convert_to_numpy(grad) for grad in grads]


def close(found: list[np.ndarray], wanted: list[np.ndarray], rtol: float = 1e-3) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max() + 2e-6)
