"""`MTINet`: its size, distillation and propagation in NumPy, one task, training of all scales."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.backbones import HRNet18, MTINet, mti_net
from tests.backbones import dense
from tests.backbones.dense import FILTERS, NYU, basic_size
from tests.harness import check_config

TASKS = {"depth": 1, "normals": 3}
SCALES = (4, 3, 2, 1)
SMALL = (3, 4, 5, 16)


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    with dense.quick():
        yield


@functools.cache
def tiny() -> MTINet:
    network = MTINet(TASKS, backbone=dense.backbone(SMALL), name="tiny")
    dense.settle(network)
    for layer in network.layers:
        if layer.name.endswith("_reduce"):
            # A single unit, which a negative sum would switch off for good.
            layer.kernel.assign(np.abs(keras.ops.convert_to_numpy(layer.kernel)))
    return network


def decoder_size(filters: tuple[int, ...], tasks: dict[str, int]) -> int:
    size = sum(dense.head_size(sum(filters), number) for number in tasks.values())
    for level, own in enumerate(filters):
        finer = level < 3
        for number in tasks.values():
            size += basic_size(own + (filters[level + 1] if finer else 0), own)
            size += basic_size(own, own) + own * number + number
            size += (len(tasks) - 1) * 2 * 9 * own * own
        if level:
            every = len(tasks) * own
            quarter = every // 4
            size += basic_size(every, quarter) + basic_size(quarter, quarter)
            size += quarter * every + every + basic_size(every, own)
            size += len(tasks) * 2 * own * max(1, own // 16)
    return size


@pytest.mark.parametrize("tasks", [NYU, {"depth": 1}])
def test_size_is_trunk_and_decoder(tasks: dict[str, int]) -> None:
    trunk = dense.backbone(FILTERS)
    size = dense.count(lambda: MTINet(tasks, backbone=trunk)) - dense.trainable(trunk)
    assert size == decoder_size(FILTERS, tasks)


def propagated(
    features: dict[str, np.ndarray], w: dict[str, np.ndarray], scale: int
) -> dict[str, np.ndarray]:
    """What each task hands to the next finer scale, from the paper."""
    name = f"propagation{scale}"
    every = np.concatenate(list(features.values()), axis=-1)
    x = dense.residual(dense.residual(every, w, f"{name}_block1"), w, f"{name}_block2")
    logits = x @ w[f"{name}_logits/kernel"][0, 0] + w[f"{name}_logits/bias"]
    # One exponent for each task, at each position and channel.
    powers = np.exp(np.stack(np.split(logits, len(features), axis=-1)))
    masks = powers / powers.sum(axis=0)
    attended = [mask * own for mask, own in zip(masks, features.values())]
    shared = dense.residual(np.concatenate(attended, axis=-1), w, f"{name}_shared")
    outputs = {}
    for task, own in features.items():
        gate = shared.mean(axis=(1, 2), keepdims=True)
        gate = dense.relu(gate @ w[f"{task}_excited{scale}_reduce/kernel"])
        gate = dense.sigmoid(gate @ w[f"{task}_excited{scale}_expand/kernel"])
        outputs[task] = own + gate * shared
    return outputs


def oracle(maps: list[np.ndarray], w: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """From the maps of the backbone to what each layer gives, from the paper."""
    found, handed = {}, {}
    scales: dict[str, list[np.ndarray]] = {task: [] for task in TASKS}
    for scale in SCALES:
        features = {}
        for task in TASKS:
            x = maps[scale - 1]
            if handed:
                x = np.concatenate([x, dense.bilinear(handed[task], 2)], axis=-1)
            x = dense.residual(x, w, f"{task}_features_scale{scale}_block1")
            x = features[task] = dense.residual(x, w, f"{task}_features_scale{scale}")
            name = f"{task}_scale{scale}"
            found[name] = dense.prediction(x, w, name, 2 ** (scale + 1))
        if scale > 1:
            handed = propagated(features, w, scale)
            found.update({f"{task}_propagated{scale}": x for task, x in handed.items()})
        for task, x in dense.distilled(features, w, f"_scale{scale}").items():
            found[f"{task}_distilled_scale{scale}"] = x
            scales[task] = [x, *scales[task]]
    for task in TASKS:
        found[task] = dense.prediction(dense.joined(scales[task]), w, task, 4)
    for name in [name for name in found if name in tiny().output and "normals" in name]:
        found[name] = dense.unit_vectors(found[name])
    return found


def test_decoder_is_that_of_the_paper() -> None:
    network = tiny()
    scales = [f"scale{number}" for number in (1, 2, 3, 4)]
    names = [f"{task}_distilled_scale{scale}" for task in TASKS for scale in SCALES]
    names += [f"{task}_propagated{scale}" for task in TASKS for scale in SCALES[:3]]
    actual = dense.maps_at(network, [*scales, *names, *network.output], dense.images(1, 64))
    maps = [actual[name].astype("float64") for name in scales]
    expected = oracle(maps, dense.weights_by_layer(network))
    assert set(expected) == {*names, *network.output}
    for name, value in expected.items():
        assert actual[name].dtype == "float32"
        dense.close(actual[name], value)


def test_softmax_over_one_task_lets_all_pass() -> None:
    network = MTINet({"depth": 1}, backbone=dense.backbone())
    assert not [layer.name for layer in network.layers if "_from_" in layer.name]
    names = [f"{part}{s}" for s in (4, 3, 2) for part in ("depth_features_scale", "propagation")]
    names = [name + "_attended" if "propagation" in name else name for name in names]
    found = dense.maps_at(network, names, dense.images(1))
    for scale in (4, 3, 2):
        own, attended = found[f"depth_features_scale{scale}"], found[f"propagation{scale}_attended"]
        assert own.std() > 0
        np.testing.assert_array_equal(own, attended)


def test_outputs_are_the_tasks_and_then_their_first_predictions() -> None:
    network = tiny()
    assert network.auxiliary == {f"{task}_scale{n}": task for task in TASKS for n in (1, 2, 3, 4)}
    assert list(network.output) == [*TASKS, *network.auxiliary]
    outputs = network.compute_output_spec(keras.KerasTensor((2, 96, 64, 3)))
    for name, output in outputs.items():
        assert output.shape == (2, 96, 64, TASKS[network.auxiliary.get(name, name)])


def test_round_trip(tmp_path: pathlib.Path) -> None:
    check_config(tiny())
    dense.check_round_trip(tiny(), tmp_path)


def test_default_backbone_is_hrnet18(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def small(**arguments: Any) -> HRNet18:
        asked.append(arguments)
        return HRNet18(**arguments, modules=(1, 1, 1), blocks=1)

    monkeypatch.setattr(mti_net, "HRNet18", small)
    with keras.StatelessScope():
        network = MTINet({"depth": 1}, width=0.5, channels=2)
    assert asked == [{"width": 0.5, "channels": 2, "dtype": None}]
    assert network.get_config()["backbone"] is None
    assert network.input_shape == (None, None, None, 2)
    trunk = [v for v in network.trainable_variables if v.path.startswith(("stem", "stage"))]
    own = dense.trainable(network) - sum(int(np.prod(v.shape)) for v in trunk)
    assert own == decoder_size((9, 18, 36, 72), {"depth": 1})


def test_a_step_moves_every_kernel() -> None:
    dense.check_fit(tiny())


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="No task may have the name"):
        MTINet({"a": 1, "a_scale3": 1})
    with pytest.raises(ValueError, match="four maps at the strides"):
        MTINet({"a": 1}, backbone=keras.Sequential([keras.Input((8,)), keras.layers.ReLU()]))
