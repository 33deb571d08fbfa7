"""The terms of distillation are those of the equation, and teachers stay as they are."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.losses import NormalizedL2
from keras_univrep.models import DenseDistiller, MultiTaskModel

TASKS = ("depth", "edges")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 8, 8, 3)).astype("float32")
Y = {task: RNG.normal(size=(2, 8, 8, 1)).astype("float32") for task in TASKS}


def network(tasks: tuple[str, ...], filters: int = 3) -> keras.Model:
    """A map of half the size, one of the whole, and a head of each task."""
    images = keras.Input((8, 8, 3))
    small = keras.layers.Conv2D(filters + 1, 2, strides=2, name="bottleneck")(images)
    value = keras.layers.BatchNormalization(name="normalization")(small)
    value = keras.layers.UpSampling2D(name="up")(value)
    features = keras.layers.Conv2D(filters, 1, name="features")(value)
    heads = {task: keras.layers.Conv2D(1, 1, name=f"{task}_head")(features) for task in tasks}
    return keras.Model(images, heads)


def teachers() -> dict[str, keras.Model]:
    return {task: network((task,), filters=5) for task in TASKS}


def maps_of(model: keras.Model, name: str, x: np.ndarray = X) -> np.ndarray:
    view = keras.Model(model.input, model.get_layer(name).output)
    return ops.convert_to_numpy(view(x, training=False)).astype("float64")


def distance(teacher: np.ndarray, student: np.ndarray, positions: Any) -> float:
    """li2022 eq. 4 for maps (batch, h, w, channels), averaged over the batch."""
    units = [a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (teacher, student)]
    return float(positions(((units[0] - units[1]) ** 2).sum(-1), axis=(1, 2)).mean())


def doubled(maps: np.ndarray) -> np.ndarray:
    """Bilinear, with half-pixel centres, to twice the height and width."""
    for axis in (1, 2):
        size = maps.shape[axis]
        at = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
        low = np.minimum(np.floor(at).astype(int), size - 1)
        high = np.minimum(low + 1, size - 1)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        maps = np.take(maps, low, axis) * (1 - part) + np.take(maps, high, axis) * part
    return maps


def frozen_statistics(model: keras.Model) -> None:
    """So that a training call computes what an inference call does."""
    model.get_layer("normalization").trainable = False


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("theirs", ["features", ("bottleneck", "features")])
def test_terms_are_those_of_the_equation(preset: str, theirs: Any) -> None:
    student, taught = network(TASKS), teachers()
    frozen_statistics(student)
    weights = {"depth": 2.0, "edges": 0.5}
    model = DenseDistiller.preset(
        preset, student, taught, teacher_layers=theirs, feature_weight=weights
    )
    model(X, training=True)
    positions = np.sum if preset == "paper" else np.mean
    names = (theirs, theirs) if isinstance(theirs, str) else theirs
    kernels = [ops.convert_to_numpy(adapter.kernel) for adapter in model.alignment_adapters]
    right = []
    for number, task in enumerate(TASKS):
        term = 0.0
        for level, name in enumerate(("bottleneck", "features")):
            target = maps_of(taught[task], names[level])
            mine = maps_of(student, name) @ kernels[2 * number + level]
            mine = doubled(mine) if mine.shape[1] != target.shape[1] else mine
            term += distance(target, mine, positions)
        right.append(weights[task] * term)
    np.testing.assert_allclose([float(loss) for loss in model.losses], right, rtol=1e-4)


def test_predictions_are_compared_where_that_is_asked_for() -> None:
    student, taught = network(TASKS), teachers()
    frozen_statistics(student)
    loss = keras.losses.MeanAbsoluteError()
    model = DenseDistiller(
        student, taught, feature_loss=None, prediction_loss={"edges": loss}, prediction_weight=3.0
    )
    assert not model.alignment_adapters
    answer = ops.convert_to_numpy(taught["edges"](X)["edges"])
    mine = ops.convert_to_numpy(model(X, training=True)["edges"])
    found = [float(loss) for loss in model.losses]
    np.testing.assert_allclose(found, [3.0 * np.abs(answer - mine).mean()], rtol=1e-5)


def test_computes_what_the_network_does_and_asks_nobody_at_inference() -> None:
    student = network(TASKS)
    model = DenseDistiller(student, teachers())
    for task, outputs in model(X).items():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(outputs), ops.convert_to_numpy(student(X)[task])
        )
    assert not model.losses


def test_balancer_weighs_the_losses_of_the_tasks_alone() -> None:
    """A step of SGD is that of the weighted task losses plus the terms with weight one."""
    found = []
    for balancer in ("uniform", "pcgrad"):
        keras.utils.set_random_seed(0)
        student = network(TASKS)
        taught = teachers()
        model = MultiTaskModel(DenseDistiller(student, taught))
        # Tasks that learn nothing: what moves the weights is the distillation.
        targets = {task: ops.convert_to_numpy(v) for task, v in student(X).items()}
        frozen_statistics(student)
        model.compile(keras.optimizers.SGD(0.1), "mse", balancer=balancer)
        before = ops.convert_to_numpy(student.get_layer("features").kernel)
        of_teacher = [ops.convert_to_numpy(w) for t in taught.values() for w in t.weights]
        logs = model.train_on_batch(X, targets, return_dict=True)
        np.testing.assert_allclose([logs["depth_loss"], logs["edges_loss"]], 0.0, atol=1e-10)
        found.append(ops.convert_to_numpy(student.get_layer("features").kernel) - before)
        after = [ops.convert_to_numpy(w) for t in taught.values() for w in t.weights]
        for old, new in zip(of_teacher, after, strict=True):
            np.testing.assert_array_equal(new, old)
    assert np.abs(found[0]).max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-6)


def test_distillation_brings_the_features_closer() -> None:
    keras.utils.set_random_seed(0)
    model = MultiTaskModel(DenseDistiller(network(TASKS), teachers()))
    model.compile(keras.optimizers.Adam(0.03), "mse", balancer="uniform")
    assert {v.path.split("/")[0] for v in model.network.shared_variables} == {
        "bottleneck", "normalization", "features",
    }  # fmt: skip
    history = model.fit(X, Y, epochs=60, verbose=0).history
    terms = [
        total - depth - edges
        for total, depth, edges in zip(
            history["loss"], history["depth_loss"], history["edges_loss"], strict=True
        )
    ]
    assert terms[-1] < 0.7 * terms[0]


def test_each_teacher_sees_its_own_images() -> None:
    inputs = {name: keras.Input((8, 8, 3), name=name) for name in ("house", "street")}
    trunk = keras.layers.Conv2D(3, 1, name="trunk")
    maps = {name: trunk(value) for name, value in inputs.items()}
    named = {
        name: keras.layers.Activation("linear", name=f"features_{name}")(value)
        for name, value in maps.items()
    }
    where = {"depth": "house", "edges": "street"}
    student = keras.Model(
        inputs,
        {t: keras.layers.Conv2D(1, 1, name=f"{t}_head")(named[where[t]]) for t in TASKS},
    )
    taught = teachers()
    model = DenseDistiller(
        student,
        taught,
        student_layers={task: [f"features_{where[task]}"] for task in TASKS},
        inputs=where,
    )
    x = {"house": X, "street": X[:1] + 1.0}
    model(x, training=True)
    for number, task in enumerate(TASKS):
        images = x[where[task]]
        mine = images @ ops.convert_to_numpy(trunk.kernel)[0, 0]
        mine = mine @ ops.convert_to_numpy(model.alignment_adapters[number].kernel)
        right = distance(maps_of(taught[task], "features", images), mine, np.mean)
        np.testing.assert_allclose(float(model.losses[number]), right, rtol=1e-4)


def test_file_gives_the_same_model(tmp_path: pathlib.Path) -> None:
    model = MultiTaskModel(
        DenseDistiller(
            network(TASKS), teachers(), feature_loss=NormalizedL2(positions="sum"),
            prediction_loss={"edges": keras.losses.MeanAbsoluteError()}, feature_weight=0.5,
        )
    )  # fmt: skip
    model.compile("sgd", "mse", balancer="uniform")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(other), ops.convert_to_numpy(one))
    logs = [m.train_on_batch(X, Y, return_dict=True)["loss"] for m in (model, again)]
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"student_layers": ["nowhere"]}, "'nowhere'"),
        ({"teachers": {}}, "must hold a trained network"),
        ({"teachers": {"normals": None}}, "normals"),
        ({"feature_loss": None}, "distils nothing"),
        ({"prediction_loss": {"normals": "kl"}}, "normals"),
        ({"feature_weight": {"depth": 1.0}}, "feature_weight"),
    ],
)
def test_says_what_does_not_fit(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DenseDistiller(network(TASKS), **{"teachers": teachers(), **arguments})


def test_teacher_must_know_its_task() -> None:
    with pytest.raises(ValueError, match="'depth'"):
        DenseDistiller(network(TASKS), {"depth": network(("edges",))})
    with pytest.raises(TypeError, match="functional"):
        DenseDistiller(network(TASKS), {"depth": keras.Sequential()})
    with pytest.raises(ValueError, match="must be one of"):
        DenseDistiller.preset("printed", network(TASKS), teachers())


@pytest.mark.parametrize("balancer", ["uniform", "imtl_g"])
def test_a_step_on_the_representation_is_the_same_step(balancer: str) -> None:
    """Uniform weights give the step of the whole network, the terms of distillation with it."""
    found = []
    for shared, on in ((None, "shared"), ("features", "representation")):
        keras.utils.set_random_seed(0)
        student = DenseDistiller(network(TASKS), teachers())
        model = MultiTaskModel(student, shared=shared, log_cosines=True)
        model.compile(keras.optimizers.SGD(0.1), "mse", balancer=balancer, on=on)
        before = [ops.convert_to_numpy(v).copy() for v in student.trainable_variables]
        logs = model.train_on_batch(X, Y, return_dict=True)
        after = [ops.convert_to_numpy(v) for v in student.trainable_variables]
        assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))
        found.append((float(logs["loss"]), after))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    if balancer == "uniform":
        for a, b in zip(found[0][1], found[1][1], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_what_is_compared_must_come_before_the_cut() -> None:
    late = DenseDistiller(network(TASKS), teachers())
    with pytest.raises(ValueError, match="before the end of the trunk"):
        MultiTaskModel(late, shared="bottleneck")
    told = DenseDistiller(
        network(TASKS), teachers(), prediction_loss={"edges": keras.losses.MeanAbsoluteError()}
    )
    with pytest.raises(ValueError, match=r"prediction losses for \['edges'\]"):
        MultiTaskModel(told, shared="features")
