"""`PADNet`: its size, its distillation in NumPy, one task, training of both predictions."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.backbones import HRNet18, PADNet, pad_net
from tests.backbones import dense
from tests.backbones.dense import FILTERS, NYU
from tests.harness import check_config

TASKS = {"parts": 4, "depth": 1, "normals": 3}


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    with dense.quick():
        yield


@functools.cache
def tiny() -> PADNet:
    network = PADNet(TASKS, width=0.05, backbone=dense.backbone(), name="tiny")
    dense.settle(network)
    return network


def decoder_size(joined: int, tasks: dict[str, int], filters: int) -> int:
    size = 0
    for number in tasks.values():
        size += dense.bottleneck_size(joined, filters // 4, filters)
        size += dense.bottleneck_size(filters, filters // 4, filters)
        size += filters * number + number
        size += (len(tasks) - 1) * 2 * 9 * filters * filters
        size += dense.head_size(filters, number)
    return size


@pytest.mark.parametrize("tasks", [NYU, {"depth": 1}])
def test_size_is_trunk_and_decoder(tasks: dict[str, int]) -> None:
    trunk = dense.backbone(FILTERS)
    size = dense.count(lambda: PADNet(tasks, backbone=trunk)) - dense.trainable(trunk)
    assert size == decoder_size(270, tasks, 256)


def test_default_backbone_is_hrnet18(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def small(**arguments: Any) -> HRNet18:
        asked.append(arguments)
        return HRNet18(**arguments, modules=(1, 1, 1), blocks=1)

    monkeypatch.setattr(pad_net, "HRNet18", small)
    with keras.StatelessScope():
        network = PADNet({"depth": 1}, width=0.5, channels=2, distillation_filters=64)
    assert asked == [{"width": 0.5, "channels": 2, "dtype": None}]
    assert network.get_config()["backbone"] is None
    assert network.input_shape == (None, None, None, 2)
    trunk = [v for v in network.trainable_variables if v.path.startswith(("stem", "stage"))]
    own = dense.trainable(network) - sum(int(np.prod(v.shape)) for v in trunk)
    assert own == decoder_size(9 + 18 + 36 + 72, {"depth": 1}, 32)


def oracle(maps: list[np.ndarray], w: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """From the maps of the backbone to what each layer gives, from the paper."""
    found, features = {}, {}
    for task in TASKS:
        x = dense.residual(dense.joined(maps), w, f"{task}_block1", 3)
        features[task] = dense.residual(x, w, f"{task}_features", 3)
        found[f"{task}_initial"] = dense.prediction(features[task], w, f"{task}_initial", 4)
    for task, x in dense.distilled(features, w).items():
        found[f"{task}_distilled"] = x
        found[task] = dense.prediction(x, w, task, 4)
    for name in ("normals", "normals_initial"):
        found[name] = dense.unit_vectors(found[name])
    return found


def test_decoder_is_that_of_the_paper() -> None:
    network = tiny()
    scales = [f"scale{number}" for number in (1, 2, 3, 4)]
    distilled = [f"{task}_distilled" for task in TASKS]
    actual = dense.maps_at(network, [*scales, *distilled, *network.output], dense.images(1, 64))
    maps = [actual[name].astype("float64") for name in scales]
    expected = oracle(maps, dense.weights_by_layer(network))
    assert set(expected) == {*distilled, *network.output}
    for name, value in expected.items():
        assert actual[name].dtype == "float32"
        dense.close(actual[name], value)


def test_one_task_gets_nothing_from_others() -> None:
    network = PADNet({"depth": 1}, width=0.05, backbone=dense.backbone())
    assert not [layer.name for layer in network.layers if "_from_" in layer.name]
    found = dense.maps_at(network, ["depth_features", "depth_distilled"], dense.images(1))
    np.testing.assert_array_equal(found["depth_features"], found["depth_distilled"])


def test_outputs_are_the_tasks_and_then_their_first_predictions() -> None:
    network = tiny()
    assert network.auxiliary == {f"{task}_initial": task for task in TASKS}
    assert list(network.output) == [*TASKS, *network.auxiliary]
    outputs = network.compute_output_spec(keras.KerasTensor((2, 96, 64, 3)))
    for name, output in outputs.items():
        assert output.shape == (2, 96, 64, TASKS[network.auxiliary.get(name, name)])


def test_layers_of_a_given_backbone_become_its_own() -> None:
    trunk = dense.backbone()
    network = PADNet({"depth": 1}, width=0.05, backbone=trunk)
    assert network.get_layer("scale3") is trunk.get_layer("scale3")
    assert len(network.weights) == len({id(variable) for variable in network.weights})


def test_round_trip(tmp_path: pathlib.Path) -> None:
    check_config(tiny())
    dense.check_round_trip(tiny(), tmp_path)


def test_a_step_moves_every_kernel() -> None:
    dense.check_fit(tiny())


def flat() -> keras.Model:
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.AveragePooling2D(4)(inputs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": None}, "`tasks` must be a dictionary"),
        ({"tasks": {"a": 1, "a_initial": 1}}, "No task may have the name"),
        ({"distillation_filters": 2}, "`distillation_filters` must be at least 4"),
        ({"backbone": flat()}, "four maps at the strides 4, 8, 16 and 32"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PADNet(**{"tasks": {"depth": 1}, **arguments})
