"""`MTAN`: the size of the released network, the paper's equations, what the tasks share."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import MTAN, SegNet
from keras_univrep.models import MultiTaskModel
from tests.backbones.segnet_oracle import Oracle, randomize
from tests.harness import check_config

RNG = np.random.default_rng(0)
# Four hundred operations and their gradients: XLA needs half a minute for them.
slow_to_compile = pytest.mark.slow if keras.backend.backend() == "jax" else lambda test: test
TASKS = {"segmentation": 13, "depth": 1, "normals": 3}


def trainable(layer: keras.layers.Layer) -> int:
    return sum(int(np.prod(variable.shape)) for variable in layer.trainable_variables)


def test_has_the_size_of_the_released_network() -> None:
    # The released module holds the three weights of the uncertainty loss as well.
    size = trainable(MTAN(TASKS)) + 3
    assert size == 44_229_076
    assert size / 24_981_069 == pytest.approx(1.7705, abs=5e-5)


def test_equals_the_oracle() -> None:
    network = MTAN(TASKS, width=0.0625)
    randomize(network)
    x = RNG.uniform(size=(1, 32, 64, 3)).astype("float32")
    oracle = Oracle(network)
    maps = oracle.shared(x.astype("float64"))
    names = {task: f"{task}_features" for task in TASKS}
    layers = ("bottleneck", "features", *names.values())
    model = keras.Model(
        network.input, {name: network.get_layer(name).output for name in layers} | network.output
    )
    outputs = model.predict(x, verbose=0)
    # The shared network is SegNet's.
    for name, value in (("bottleneck", maps["bottleneck"]), ("features", maps["decoder"][1])):
        np.testing.assert_allclose(outputs[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    for task, name in names.items():
        features = oracle.attended(maps, task)
        head = oracle.head(features, task)
        if task == "normals":
            head /= np.linalg.norm(head, axis=-1, keepdims=True)
        np.testing.assert_allclose(outputs[name], features, rtol=1e-3, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(outputs[task], head, rtol=1e-3, atol=1e-4, err_msg=task)


def test_tasks_share_the_network_and_the_convolutions_between_their_modules() -> None:
    network = MTAN(TASKS, width=0.0625)
    model = MultiTaskModel(network)
    shared = {variable.path for variable in model.parts.shared_variables()}
    own = {variable.path for variable in model.parts.own_variables()}
    assert own == {v.path for v in network.trainable_variables if v.path.startswith(tuple(TASKS))}
    trunk = {variable.path for variable in SegNet(width=0.0625).trainable_variables}
    between = {path for path in shared if "between" in path}
    assert shared == trunk | between and not trunk & between
    # A kernel, a bias, a scale and a shift, at five levels, down and up.
    assert len(between) == 4 * 5 * 2


@slow_to_compile
def test_trains_under_what_several_outputs_depend_on() -> None:
    network = MTAN({"depth": 1, "normals": 3}, width=0.03125)
    model = MultiTaskModel(network)
    model.compile(keras.optimizers.SGD(0.1), {"depth": "mae", "normals": "mse"})
    before = {v.path: ops.convert_to_numpy(v).copy() for v in network.trainable_variables}
    x = RNG.uniform(size=(2, 32, 32, 3)).astype("float32")
    targets = {
        "depth": RNG.uniform(size=(2, 32, 32, 1)).astype("float32"),
        "normals": RNG.normal(size=(2, 32, 32, 3)).astype("float32"),
    }
    history = model.fit(x, targets, batch_size=2, epochs=1, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    moved = {
        variable.path
        for variable in network.trainable_variables
        if not np.array_equal(before[variable.path], ops.convert_to_numpy(variable))
    }
    heads = {path for path in before if "_head/" in path}
    shared = {v.path for v in model.parts.shared_variables() if v.path.endswith("kernel")}
    assert heads <= moved and shared <= moved


def test_saving_keeps_every_bit(tmp_path: pathlib.Path) -> None:
    network = MTAN({"depth": 1}, width=0.03125, name="network", normalized=("depth",))
    check_config(network)
    randomize(network)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is MTAN
    for before, after in zip(network.weights, loaded.weights, strict=True):
        assert before.path == after.path
        np.testing.assert_array_equal(
            ops.convert_to_numpy(before), ops.convert_to_numpy(after), err_msg=before.path
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tasks": {}}, "at least one task.*Received: tasks={}"),
        ({"tasks": TASKS, "width": -1.0}, "Received: width=-1.0"),
        ({"tasks": TASKS, "normalized": "normals"}, "Received: normalized='normals'"),
    ],
)
def test_bad_arguments_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MTAN(**options)
