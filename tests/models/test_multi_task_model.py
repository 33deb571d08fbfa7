"""A step of several tasks is the step that the papers define, under every way of taking it."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import balancers
from keras_univrep.models import MultiTaskModel
from tests.balancers.helpers import numpy, weights

TASKS = ("a", "b", "c")
RATE = 0.1
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype("float32")
Y = {task: RNG.normal(size=(6, 2)).astype("float32") for task in TASKS}
# Losses of different sizes, and gradients that conflict.
Y["b"] = -2.0 * Y["a"] + 0.1 * Y["b"]
TRUNK = RNG.normal(size=(4, 3)).astype("float32")
HEADS = {task: RNG.normal(size=(3, 2)).astype("float32") for task in TASKS}


def dense(units: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(units, use_bias=False, name=name)


def linear_network() -> keras.Model:
    """Two matrices in a row for each task, the first one shared."""
    inputs = keras.Input((4,))
    features = dense(3, "trunk")(inputs)
    network = keras.Model(inputs, {task: dense(2, task)(features) for task in TASKS})
    network.get_layer("trunk").kernel.assign(TRUNK)
    for task in TASKS:
        network.get_layer(task).kernel.assign(HEADS[task])
    return network


def rich_network(dtype: str = "float32") -> keras.Model:
    """With all that has state or a penalty."""
    inputs = keras.Input((4,))
    with _policy(dtype):
        value = keras.layers.Dense(5, kernel_regularizer=keras.regularizers.L2(0.01))(inputs)
        value = keras.layers.BatchNormalization(momentum=0.5)(value)
        value = keras.layers.Activation("relu", name="trunk")(value)
        outputs = {
            task: keras.layers.Dense(
                2, kernel_regularizer=keras.regularizers.L2(0.01), dtype="float32", name=task
            )(value)
            for task in TASKS
        }
    return keras.Model(inputs, outputs)


class _policy:
    """The policy of layers that are made inside."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype)

    def __exit__(self, *_: object) -> None:
        keras.config.set_dtype_policy(self.before)


def oracle() -> tuple[np.ndarray, list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Losses, and gradients by the features, the trunk and the own head, in float64."""
    x, trunk = X.astype("float64"), TRUNK.astype("float64")
    losses, by_features, by_trunk, by_head = [], [], [], []
    for task in TASKS:
        head = HEADS[task].astype("float64")
        error = x @ trunk @ head - Y[task]
        losses.append((error**2).mean())
        error = 2 * error / error.size
        by_features.append(error @ head.T)
        by_trunk.append(x.T @ error @ head.T)
        by_head.append((x @ trunk).T @ error)
    return np.array(losses), by_features, np.array(by_trunk), by_head


def rows(parts: list[np.ndarray]) -> np.ndarray:
    return np.array([part.ravel() for part in parts])


def one_step(model: MultiTaskModel) -> dict[str, float]:
    logs = model.train_on_batch(X, Y, return_dict=True)
    return {name: float(value) for name, value in logs.items()}


@pytest.mark.parametrize(
    ("balancer", "measured", "heads"),
    [
        (balancers.Uniform("mean"), None, "weighted"),
        (balancers.PCGrad(order="fixed"), "trunk", "sum"),
        (balancers.MGDA("loss", scope="representation"), "features", "weighted"),
        (balancers.IMTLG("mean", scope="representation_mean"), "mean", "sum"),
        (balancers.CAGrad(), "all", "weighted"),
        (balancers.CAGrad(scope="shared", heads="mean"), "trunk", "mean"),
    ],
)
def test_a_step_moves_trunk_and_heads_as_the_balancer_says(balancer, measured, heads) -> None:
    losses, by_features, by_trunk, by_head = oracle()
    all_of = [
        np.concatenate(
            [by_trunk[t].ravel(), *(float(t == k) * by_head[k].ravel() for k in range(3))]
        )
        for t in range(3)
    ]
    gradients = {
        None: rows(by_trunk),
        "trunk": rows(by_trunk),
        "features": rows(by_features),
        "mean": rows([part.mean(axis=0) for part in by_features]),
        "all": np.array(all_of),
    }[measured]
    w = weights(balancers.get(keras.saving.serialize_keras_object(balancer)), gradients, losses)
    model = MultiTaskModel(linear_network(), shared="trunk")
    model.compile(keras.optimizers.SGD(RATE), "mse", balancer=balancer)
    logs = one_step(model)
    moved = TRUNK - RATE * np.einsum("t,tij->ij", w, by_trunk)
    trunk = model.network.get_layer("trunk").kernel
    np.testing.assert_allclose(numpy(trunk), moved, rtol=1e-4, atol=1e-5)
    h = {"weighted": w, "sum": np.ones(3), "mean": np.full(3, 1 / 3)}[heads]
    for t, task in enumerate(TASKS):
        kernel = numpy(model.network.get_layer(task).kernel)
        np.testing.assert_allclose(kernel, HEADS[task] - RATE * h[t] * by_head[t], atol=1e-5)
        np.testing.assert_allclose(logs[f"{task}_loss"], losses[t], rtol=1e-4)
        np.testing.assert_allclose(logs[f"{task}_weight"], w[t], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(logs["loss"], losses.sum(), rtol=1e-4)


def test_what_is_shared_is_found_told_or_given() -> None:
    network = linear_network()
    kernels = {layer.name: layer.kernel for layer in network.layers[1:]}
    trunk = keras.Model(network.inputs, network.get_layer("trunk").output)
    for model in (
        MultiTaskModel(network),
        MultiTaskModel(network, shared="trunk"),
        MultiTaskModel(network, shared=lambda variable: variable is kernels["trunk"]),
        MultiTaskModel(trunk, {task: network.get_layer(task) for task in TASKS}),
    ):
        assert model.tasks == TASKS
        assert [v.path for v in model.parts.shared_variables()] == [kernels["trunk"].path]
        paths = {v.path for v in model.parts.own_variables()}
        assert paths == {kernels[task].path for task in TASKS}
        for task, output in model(X).items():
            np.testing.assert_allclose(numpy(output), numpy(network(X)[task]), rtol=1e-6)


def test_what_is_frozen_later_is_no_longer_shared() -> None:
    inputs = keras.Input((4,))
    shared = dense(3, "second")(dense(3, "first")(inputs))
    network = keras.Model(inputs, {task: dense(2, task)(shared) for task in TASKS})
    parts = MultiTaskModel(network).parts
    first, second = (network.get_layer(name).kernel for name in ("first", "second"))
    assert [v.path for v in parts.shared_variables()] == [first.path, second.path]
    network.get_layer("first").trainable = network.get_layer("b").trainable = False
    assert [v.path for v in parts.shared_variables()] == [second.path]
    assert "b" in TASKS and len(parts.own_variables()) == len(TASKS) - 1


@pytest.mark.parametrize("name", ["aligned_mtl", "graddrop", "nash_mtl", "upgrad", "imtl_h"])
def test_it_trains_under_fit(name: str) -> None:
    model = MultiTaskModel(rich_network(), shared="trunk", log_cosines=name == "upgrad")
    on = "representation" if name in ("graddrop", "imtl_h") else None
    model.compile(keras.optimizers.Adam(0.03), "mse", balancer=name, on=on, metrics={"a": ["mae"]})
    moving = model.network.layers[2].moving_mean
    before = numpy(moving)
    history = model.fit(X, Y, batch_size=6, epochs=12, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert not np.array_equal(before, numpy(moving))
    assert {"a_loss", "b_weight", "a_mae"} <= set(history)
    if name == "upgrad":
        assert np.all(np.abs(history["a_b_cosine"]) <= 1 + 1e-5)
    results = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert "a_loss" in results and "a_weight" not in results and "a_b_cosine" not in results


def test_log_cosines_are_those_of_the_gradients() -> None:
    _, by_features, by_trunk, _ = oracle()
    for shared, parts in ((None, by_trunk), ("trunk", by_features)):
        gradients = rows(parts)
        model = MultiTaskModel(linear_network(), shared=shared, log_cosines=True)
        model.compile("sgd", "mse")
        logs = one_step(model)
        unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
        np.testing.assert_allclose(logs["a_b_cosine"], unit[0] @ unit[1], atol=1e-5)
        np.testing.assert_allclose(logs["b_c_cosine"], unit[1] @ unit[2], atol=1e-5)


def test_the_second_forward_pass_of_famo_leaves_no_trace() -> None:
    found = []
    for name in ("famo", "uniform"):
        keras.utils.set_random_seed(1)
        model = MultiTaskModel(rich_network(), shared="trunk")
        model.compile(keras.optimizers.SGD(RATE), "mse", balancer=name)
        model.train_on_batch(X, Y)
        found.append(numpy(model.network.layers[2].moving_mean))
        if name == "famo":
            assert np.abs(numpy(model.balancer.logits)).min() > 0
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize("name", ["pcgrad", "mgda_ub", "uncertainty"])
def test_mixed_precision_scales_the_losses(name: str) -> None:
    logs = []
    for dtype in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(1)
        network = rich_network(dtype)
        model = MultiTaskModel(network, shared="trunk", dtype=dtype)
        optimizer = keras.optimizers.SGD(RATE)
        if dtype != "float32":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
        balancer = balancers.PCGrad(order="fixed") if name == "pcgrad" else name
        model.compile(optimizer, "mse", balancer=balancer)
        before = numpy(network.layers[1].kernel)
        logs.append(one_step(model))
        moved = numpy(network.layers[1].kernel) - before
        logs[-1]["moved"] = np.abs(moved).max()
        if name == "uncertainty":
            logs[-1]["sigma"] = numpy(model.balancer.sigma)[0]
    for key, value in logs[0].items():
        np.testing.assert_allclose(logs[1][key], value, rtol=0.03, atol=3e-3, err_msg=key)


def test_accumulated_gradients_are_one_step() -> None:
    kernels = []
    for steps in (None, 2):
        model = MultiTaskModel(linear_network())
        optimizer = keras.optimizers.SGD(RATE, gradient_accumulation_steps=steps)
        model.compile(optimizer, "mse", balancer="mgda")
        for _ in range(steps or 1):
            model.train_on_batch(X, Y)
        kernels.append(numpy(model.network.get_layer("trunk").kernel))
    np.testing.assert_allclose(*kernels, rtol=1e-5)
    assert not np.allclose(kernels[0], TRUNK)


@pytest.mark.parametrize("balancer", ["gradnorm", balancers.DWA(2.0)])
def test_a_loaded_model_goes_on_as_if_nothing_had_happened(
    balancer, tmp_path: pathlib.Path
) -> None:
    model = MultiTaskModel(rich_network(), shared="trunk")
    model.compile(keras.optimizers.Adam(0.01), "mse", balancer=balancer, metrics={"b": ["mae"]})
    model.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.balancer.get_config() == model.balancer.get_config()
    assert loaded.tasks == model.tasks and loaded.scope == model.scope
    for a, b in zip(model.balancer.state.variables, loaded.balancer.state.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
    further = [
        m.fit(X, Y, batch_size=3, epochs=1, shuffle=False, verbose=0).history
        for m in (model, loaded)
    ]
    for name, (value,) in further[0].items():
        np.testing.assert_allclose(further[1][name][0], value, rtol=1e-5, err_msg=name)
    assert not np.allclose([further[0][f"{task}_weight"] for task in TASKS], 1.0)


def test_heads_are_saved_with_their_trunk(tmp_path: pathlib.Path) -> None:
    network = linear_network()
    trunk = keras.Model(network.inputs, network.get_layer("trunk").output)
    model = MultiTaskModel(trunk, {task: network.get_layer(task) for task in reversed(TASKS)})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.tasks == ("c", "b", "a")
    for task in TASKS:
        np.testing.assert_array_equal(numpy(loaded(X)[task]), numpy(model(X)[task]))


def test_another_balancer_replaces_the_first() -> None:
    model = MultiTaskModel(linear_network())
    model.compile("sgd", "mse", balancer="uncertainty")
    assert len(model.trainable_variables) == 5
    model.compile("sgd", "mse", balancer="uniform")
    assert len(model.trainable_variables) == 4
    assert np.isfinite(one_step(model)["loss"])


def test_weights_of_samples_count() -> None:
    masks = {task: np.ones(6, "float32") for task in TASKS}
    masks["b"][3:] = 0.0
    model = MultiTaskModel(linear_network())
    model.compile(keras.optimizers.SGD(0.0), {"a": "mse", "b": "mse", "c": keras.losses.Huber()})
    logs = model.train_on_batch(X, Y, masks, return_dict=True)
    errors = ((X @ TRUNK @ HEADS["b"] - Y["b"]) ** 2).mean(axis=1)
    np.testing.assert_allclose(float(logs["b_loss"]), errors[:3].sum() / 6, rtol=1e-4)
    results = model.evaluate(X, Y, sample_weight=masks, verbose=0, return_dict=True)
    np.testing.assert_allclose(results["b_loss"], float(logs["b_loss"]), rtol=1e-4)


def test_a_loss_that_is_no_number_is_named_and_ends_the_training() -> None:
    model = MultiTaskModel(linear_network())
    model.compile(keras.optimizers.SGD(RATE), "mse", balancer="pcgrad")
    broken = {**Y, "b": np.full((6, 2), np.nan, "float32")}
    with pytest.raises(
        RuntimeError, match=r"Received: infinite or NaN for \['b'\], first in epoch 1"
    ):
        model.fit(X, broken, batch_size=3, epochs=3, verbose=0)


def test_unusable_arguments_are_named() -> None:
    network = linear_network()
    listed = keras.Model(network.inputs, list(network.output.values()))
    inner = keras.Sequential([keras.layers.Dense(2)], name="inner")
    images = keras.Input((3,))
    nested = keras.Model(images, {"a": keras.layers.Dense(1, name="a")(inner(images))})

    class Plain(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.built = True

    model = MultiTaskModel(network)
    for attempt, kind, words in (
        (lambda: MultiTaskModel(listed), ValueError, "dictionary of outputs by task"),
        (lambda: MultiTaskModel(Plain()), ValueError, "`tasks` must name"),
        (lambda: MultiTaskModel(Plain(), tasks=["a"]), ValueError, "What is shared must be told"),
        (lambda: MultiTaskModel(network, tasks=["a"]), ValueError, "`tasks` must name the outputs"),
        (lambda: MultiTaskModel(network, {"a": 1}, "trunk"), ValueError, "`shared` must be None"),
        (lambda: MultiTaskModel(network, []), TypeError, "`heads` must be a dictionary"),
        (lambda: MultiTaskModel("resnet"), TypeError, "`network` must be a Keras model"),
        (lambda: MultiTaskModel(network, shared="a"), ValueError, "through the shared layers"),
        (lambda: MultiTaskModel(nested, shared="inner"), ValueError, "a model within the network"),
        (lambda: model.compile("sgd"), ValueError, "`loss` must name a loss"),
        (lambda: model.compile("sgd", {"a": "mse"}), ValueError, "a loss for each task"),
        (lambda: model.compile("sgd", "mse", balancer="best"), ValueError, "name of a balancer"),
        (lambda: model.compile("sgd", "mse", balancer="mgda_ub"), ValueError, "the trunk ends"),
        (lambda: model.compile("sgd", "mse", on="heads"), ValueError, "`on` must be one of"),
        (
            lambda: model.compile("sgd", "mse", balancer="graddrop", on="all"),
            ValueError,
            "works on",
        ),
        (lambda: model.compile("sgd", "mse", loss_weights=[1]), ValueError, "must be None"),
        (
            lambda: MultiTaskModel(network, shared=lambda v: False).parts.shared_variables(),
            ValueError,
            "must be shared",
        ),
    ):
        with pytest.raises(kind, match=words):
            attempt()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`y` must hold an entry for each task"):
        model.train_on_batch(X, {"a": Y["a"]})


def supervised_network() -> keras.Model:
    """The linear network with one more output on its trunk, which learns from targets of "b"."""
    network = linear_network()
    extra = dense(2, "b_early")(network.get_layer("trunk").output)
    supervised = keras.Model(network.input, {**network.output, "b_early": extra})
    supervised.auxiliary = {"b_early": "b"}
    supervised.get_layer("b_early").kernel.assign(HEADS["a"])
    return supervised


@pytest.mark.parametrize("shared", [None, "trunk"])
def test_deep_supervision_is_part_of_the_loss_of_its_task(shared: str | None) -> None:
    model = MultiTaskModel(supervised_network(), shared=shared, auxiliary_weight=0.5)
    assert model.tasks == TASKS
    assert len(model.parts.shared_variables()) == 1
    model.compile(keras.optimizers.SGD(RATE), "mse", balancer="imtl_g")
    assert set(model(X)) == set(TASKS)
    assert set(model(X, training=True)) == {*TASKS, "b_early"}
    losses = oracle()[0]
    early = ((X @ TRUNK @ HEADS["a"] - Y["b"]) ** 2).mean()
    plain = model.test_on_batch(X, Y, return_dict=True)
    np.testing.assert_allclose([plain[f"{task}_loss"] for task in TASKS], losses, rtol=1e-4)
    logs = model.train_on_batch(X, Y, return_dict=True)
    found = [logs[f"{task}_loss"] for task in TASKS]
    np.testing.assert_allclose(found, losses + np.array([0.0, 0.5 * early, 0.0]), rtol=1e-4)
    assert not np.allclose(numpy(model.network.get_layer("b_early").kernel), HEADS["a"])


def test_auxiliary_outputs_must_be_there() -> None:
    for auxiliary in ({"nowhere": "b"}, {"b_early": "nobody"}):
        with pytest.raises(ValueError, match="auxiliary"):
            MultiTaskModel(supervised_network(), auxiliary=auxiliary)
