"""A step of several tasks whose numbers are infinite or NaN is named, and changes nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD

from keras_univrep import balancers
from keras_univrep.models import DenseDistiller, MultiTaskModel
from keras_univrep.models._step_guard import broken_parts
from tests.balancers.helpers import numpy

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(6, 4, 4, 3)).astype("float32")
Y = {task: RNG.normal(size=(6, 4, 4, 1)).astype("float32") for task in "ab"}


def network(tasks: str = "ab") -> keras.Model:
    images = keras.Input((4, 4, 3))
    value = keras.layers.Conv2D(4, 3, padding="same", name="first")(images)
    value = keras.layers.BatchNormalization(name="norm")(value)
    value = keras.layers.Activation("relu", name="trunk")(value)
    outputs = {task: keras.layers.Conv2D(1, 1, name=task)(value) for task in tasks}
    return keras.Model(images, outputs)


def state(model: MultiTaskModel) -> list[np.ndarray]:
    """All that a step may change, but what it reports and random numbers."""
    variables = [v for v in model.weights if v is not model.broken and "seed" not in v.path]
    return [np.array(ops.convert_to_numpy(v)) for v in (*variables, *model.optimizer.variables)]


@pytest.mark.parametrize(
    ("balancer", "shared"),
    [
        ("uniform", None),
        ("famo", None),
        ("gradnorm", "trunk"),
        ("cagrad", None),
    ],
)
def test_a_broken_step_changes_nothing(balancer: str, shared: str | None) -> None:
    keras.utils.set_random_seed(0)
    model = MultiTaskModel(network(), shared=shared)
    model.compile(keras.optimizers.Adam(0.01), "mse", balancer=balancer)
    model.train_on_batch(X, Y)
    before = state(model)
    model.train_on_batch(np.where(np.arange(6)[:, None, None, None] < 3, np.nan, X), Y)
    for a, b in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(a, b)
    model.train_on_batch(X, Y)
    moved = [np.any(a != b) for a, b in zip(before, state(model), strict=True)]
    assert np.mean(moved) > 0.8
    assert all(np.all(np.isfinite(value)) for value in state(model))


def test_training_stops_with_the_weights_of_the_good_steps() -> None:
    # The last of three batches is broken, so that the weights are those of the first two.
    found = []
    for x, y in ((X[:4], {t: Y[t][:4] for t in Y}), (X.copy(), Y)):
        keras.utils.set_random_seed(0)
        model = MultiTaskModel(network())
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", balancer="pcgrad")
        if len(x) == 4:
            model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
        else:
            x[4:] = np.inf
            with pytest.raises(RuntimeError, match="first in epoch 1. No step was taken"):
                model.fit(x, y, batch_size=2, epochs=3, shuffle=False, verbose=0)
        found.append(state(model))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class RootDistance(keras.losses.Loss):
    """Finite at its minimum, with a gradient that is not."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.sqrt(ops.square(y_pred - y_true)), axis=(1, 2))


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("values", [[np.nan], [np.inf], [np.inf, -np.inf], [-np.inf, 1e30]])
def test_a_number_that_is_none_is_found_in_any_gradient(place: int, values: list[float]) -> None:
    grads = [np.full((3, 2), 1e30, "float32") for _ in range(3)]
    losses, penalty = np.ones(2, "float32"), np.zeros((), "float32")

    def broken() -> list[bool]:
        tensors = [ops.convert_to_tensor(grad) for grad in grads]
        found = broken_parts(ops.convert_to_tensor(losses), penalty, tensors, SGD())
        return numpy(found).tolist()

    assert broken() == [False, False, False, False]
    grads[place][-1, : len(values)] = values
    assert broken() == [False, False, False, True]


def test_what_broke_is_named() -> None:
    broken = {**Y, "b": np.full_like(Y["b"], np.nan)}
    plain = MultiTaskModel(network())
    plain.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match=r"infinite or NaN for \['b'\], first"):
        plain.fit(X, broken, batch_size=6, verbose=0)
    # Losses of zero, where the root has no slope.
    for layer in plain.network.layers:
        if layer.name in "ab":
            layer.kernel.assign(np.zeros((1, 1, 4, 1), "float32"))
    plain.compile("sgd", RootDistance())
    with pytest.raises(RuntimeError, match=r"infinite or NaN for \['gradients'\], first"):
        plain.fit(X, {task: np.zeros_like(Y[task]) for task in Y}, batch_size=6, verbose=0)
    teacher = network("a")
    taught = MultiTaskModel(DenseDistiller(network(), {"a": teacher}, ["trunk"], ["trunk"]))
    taught.compile("sgd", "mse")
    teacher.get_layer("first").kernel.assign(np.full((3, 3, 3, 4), np.nan, "float32"))
    with pytest.raises(RuntimeError, match=r"for \['penalties and distillation terms'\], first"):
        taught.fit(X, Y, batch_size=6, verbose=0)


def test_loss_scaling_still_finds_its_scale() -> None:
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    inner = network()
    keras.config.set_dtype_policy(policy)
    model = MultiTaskModel(inner, dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), 2.0**30)
    model.compile(optimizer, "mse", balancer=balancers.FAMO())
    before = numpy(model.network.get_layer("first").kernel)
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(numpy(model.network.get_layer("first").kernel), before)
    # Nothing moved, so that there is nothing to learn from what came after.
    np.testing.assert_array_equal(numpy(model.balancer.logits), 0.0)
    model.fit(X, Y, batch_size=6, epochs=30, verbose=0)
    assert not np.allclose(numpy(model.network.get_layer("first").kernel), before)
    assert float(ops.convert_to_numpy(optimizer.dynamic_scale)) < 2.0**30
    assert np.abs(numpy(model.balancer.logits)).min() > 0
