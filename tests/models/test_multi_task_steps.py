"""What optimizers, the scope and tasks without targets do to a step of several tasks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep import balancers, losses
from keras_univrep.models import MultiTaskModel
from keras_univrep.types import Tensor
from tests.balancers.helpers import numpy
from tests.balancers.test_every_balancer import NAMES
from tests.models.test_multi_task_model import RATE, X, Y, linear_network


def test_the_scope_of_compile_counts_as_that_of_the_balancer() -> None:
    found = []
    for balancer, on in ((balancers.CAGrad(), "shared"), (balancers.CAGrad(scope="shared"), None)):
        model = MultiTaskModel(linear_network())
        model.compile(keras.optimizers.SGD(RATE), "mse", balancer=balancer, on=on)
        model.train_on_batch(X, Y)
        found.append([numpy(variable) for variable in model.network.trainable_variables])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


class Keeping(balancers.Uniform):
    """Asks for the Gram matrix, and keeps it."""

    needs_gradients = True

    def make_variables(self) -> None:
        self.gram = self.add_variable("gram", shape=(self.num_tasks, self.num_tasks))

    def update(self, losses: Tensor, gram: Tensor | None = None) -> None:
        self.gram.assign(gram)


def test_inner_products_of_millions_of_entries_are_exact() -> None:
    inputs = keras.Input((2048,))
    hidden = keras.layers.Dense(1024, use_bias=False, name="shared")(inputs)
    heads = {task: keras.layers.Dense(1, use_bias=False, name=task) for task in ("a", "b")}
    network = keras.Model(inputs, {task: head(hidden) for task, head in heads.items()})
    for head in heads.values():
        head.kernel.assign(keras.random.uniform((1024, 1)))
    model = MultiTaskModel(network)
    loss = dict.fromkeys(heads, lambda target, output: output[..., 0])
    model.compile(keras.optimizers.SGD(RATE), loss, balancer=Keeping())
    x = np.random.default_rng(0).uniform(size=(1, 2048)).astype("float32")
    v = np.concatenate([numpy(head.kernel).astype("float64") for head in heads.values()], 1)
    model.train_on_batch(x, {task: np.zeros((1, 1), "float32") for task in heads})
    # The gradient of the shared kernel is the outer product of x and v.
    expected = np.sum(x.astype("float64") ** 2) * v.T @ v
    np.testing.assert_allclose(numpy(model.balancer.gram), expected, rtol=3e-6)


def test_gradnorm_may_look_at_the_last_shared_kernel_alone() -> None:
    inputs = keras.Input((4,))
    first = keras.layers.Dense(5, name="first")(inputs)
    last = keras.layers.Dense(3, name="last")(first)
    outputs = {task: keras.layers.Dense(2, name=task)(last) for task in Y}
    found = {}
    for scope, only in (("last_shared", None), ("shared", "last/kernel"), ("shared", None)):
        keras.utils.set_random_seed(0)
        network = keras.Model(inputs, outputs)
        shared = (lambda v: v.path == "last/kernel") if only else None
        model = MultiTaskModel(network, shared=shared, log_cosines=True)
        model.compile(keras.optimizers.SGD(0.0), "mse", balancer=balancers.GradNorm(scope=scope))
        logs = model.train_on_batch(X, Y, return_dict=True)
        found[scope, only] = np.array([float(logs[f"{pair}_cosine"]) for pair in ("a_b", "b_c")])
    expected = found["shared", "last/kernel"]
    np.testing.assert_allclose(found["last_shared", None], expected, rtol=1e-4, atol=1e-6)
    assert np.abs(found["shared", None] - expected).max() > 1e-4


def test_no_decay_pulls_at_the_variables_of_a_balancer() -> None:
    found = []
    for decay in (None, 0.5):
        model = MultiTaskModel(linear_network())
        optimizer = keras.optimizers.AdamW(RATE, weight_decay=decay or 0.0)
        if decay:
            optimizer.exclude_from_weight_decay([model.network.get_layer("a").kernel])
        model.compile(optimizer, "mse", balancer="uncertainty")
        model.train_on_batch(X, Y)
        found.append(model)
    free, pulled = found
    np.testing.assert_allclose(numpy(free.balancer.sigma), numpy(pulled.balancer.sigma), atol=1e-5)
    kernels = [[numpy(m.network.get_layer(n).kernel) for n in ("a", "b")] for m in found]
    np.testing.assert_allclose(kernels[0][0], kernels[1][0], atol=1e-5)
    assert np.abs(kernels[0][1] - kernels[1][1]).max() > 0.02


def test_famo_waits_for_the_step_of_accumulated_gradients() -> None:
    def sgd(steps: int | None) -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(RATE, gradient_accumulation_steps=steps)

    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(sgd(2)))
    found = []
    for optimizer, collects in ((sgd(None), 0), (sgd(2), 1), (several, 1)):
        model = MultiTaskModel(linear_network())
        model.compile(optimizer, "mse", balancer="famo")
        for _ in range(collects):
            model.train_on_batch(X, Y)
            np.testing.assert_array_equal(numpy(model.balancer.logits), 0.0)
        model.train_on_batch(X, Y)
        assert float(model.balancer.steps.value) == 1.0
        found.append(numpy(model.balancer.logits))
    assert np.abs(found[0]).min() > 0
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_without_targets_does_no_harm(name: str) -> None:
    keras.utils.set_random_seed(0)
    images = keras.Input((4, 4, 3))
    features = keras.layers.Conv2D(4, 3, padding="same", name="trunk")(images)
    channels = {"depth": 1, "segmentation": 3}
    outputs = {t: keras.layers.Conv2D(n, 1, name=t)(features) for t, n in channels.items()}
    model = MultiTaskModel(keras.Model(images, outputs), shared="trunk")
    known = {"depth": losses.DepthL1(), "segmentation": losses.SegmentationCrossEntropy()}
    model.compile(keras.optimizers.SGD(RATE), known, balancer=name)
    x = np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype("float32")
    empty = np.zeros((2, 4, 4, 1), "float32")
    labels = np.ones((2, 4, 4), "int32")
    before = {layer: numpy(model.network.get_layer(layer).kernel) for layer in ("trunk", *channels)}
    # None of depth; none of anything; all.
    model.train_on_batch(x, {"depth": empty, "segmentation": labels})
    moved = {n: np.abs(numpy(model.network.get_layer(n).kernel) - before[n]).max() for n in before}
    assert moved["depth"] == 0.0 and min(moved["trunk"], moved["segmentation"]) > 1e-4
    model.train_on_batch(x, {"depth": empty, "segmentation": -labels})
    logs = model.train_on_batch(x, {"depth": empty + 1, "segmentation": labels}, return_dict=True)
    assert all(np.isfinite(float(value)) for value in logs.values())
    assert all(np.all(np.isfinite(numpy(v))) for v in model.weights if "float" in v.dtype)
    if not name.startswith("mgda"):  # Where a corner may be the answer.
        assert np.abs(numpy(model.network.get_layer("depth").kernel) - before["depth"]).max() > 1e-5
    assert not numpy(model.broken).any()


@pytest.mark.parametrize("name", ["cagrad", "nash_mtl", "mgda"])
@pytest.mark.parametrize("on", ["shared", "representation"])
def test_a_head_of_zeros_follows_its_own_gradient(name: str, on: str) -> None:
    model = MultiTaskModel(linear_network(), shared="trunk")
    head = model.network.get_layer("a")
    head.kernel.assign(np.zeros((3, 2), "float32"))
    model.compile(keras.optimizers.SGD(RATE), "mse", balancer=balancers.get(name), on=on)
    features = X @ numpy(model.network.get_layer("trunk").kernel)
    slope = -2.0 * features.T @ Y["a"] / Y["a"].size
    model.train_on_batch(X, Y)
    np.testing.assert_allclose(numpy(head.kernel), -RATE * slope, rtol=1e-3, atol=1e-5)
