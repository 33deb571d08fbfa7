"""`HRNet18`: published sizes, the network of the paper in NumPy, heads, training in parts."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from keras_univrep.backbones import HRNet18
from keras_univrep.models import MultiTaskModel
from tests.backbones import dense
from tests.backbones.dense import FILTERS, NYU, basic_size, bottleneck_size, head_size, unit_size
from tests.harness import check_config

MAPS = ["scale1", "scale2", "scale3", "scale4"]
TASKS = {"depth": 1, "normals": 3}


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    with dense.quick():
        yield


@functools.cache
def tiny() -> HRNet18:
    network = HRNet18(TASKS, width=0.12, modules=(1, 1, 1), blocks=1, name="tiny")
    dense.settle(network)
    return network


def trunk_size(modules: tuple[int, int, int], blocks: int) -> int:
    """Stem, bottlenecks; per stage the new branch, and per module its blocks and its exchange."""
    size = unit_size(9, 3, 64) + unit_size(9, 64, 64)
    size += bottleneck_size(64, 64, 256) + (blocks - 1) * bottleneck_size(256, 64, 256)
    size += unit_size(9, 256, 18) + unit_size(9, 256, 36)
    size += unit_size(9, 36, 72) + unit_size(9, 72, 144)
    for branches, number in zip((2, 3, 4), modules):
        filters = FILTERS[:branches]
        one = sum(blocks * basic_size(own, own) for own in filters)
        for to in range(branches):
            for of in range(branches):
                if of > to:
                    one += unit_size(1, filters[of], filters[to])
                if of < to:
                    one += (to - of - 1) * unit_size(9, filters[of], filters[of])
                    one += unit_size(9, filters[of], filters[to])
        size += number * one
    return size


def classifier_size() -> int:
    """The head of the ImageNet networks: widening, three steps down, 2,048 channels, classes."""
    size = sum(
        bottleneck_size(own, wide // 4, wide) for own, wide in zip(FILTERS, (128, 256, 512, 1024))
    )
    size += sum(unit_size(9, wide, 2 * wide) + 2 * wide for wide in (128, 256, 512))
    return size + unit_size(1, 1024, 2048) + 2048 + 2048 * 1000 + 1000


def test_trunk_has_the_published_sizes() -> None:
    # With the ImageNet classifier the small network of version 2 has 15.60 M, the large 21.30 M.
    for build, arguments, published in (
        (HRNet18, ((1, 3, 2), 2), 15_597_464),
        (functools.partial(HRNet18, modules=(1, 4, 3), blocks=4), ((1, 4, 3), 4), 21_299_004),
    ):
        assert trunk_size(*arguments) + classifier_size() == published
        assert dense.count(build) == trunk_size(*arguments)


def test_heads_add_two_convolutions_each() -> None:
    expected = trunk_size((1, 1, 1), 1) + sum(head_size(270, number) for number in NYU.values())
    assert dense.count(lambda: HRNet18(NYU, modules=(1, 1, 1), blocks=1)) == expected


def oracle(x: np.ndarray, w: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Maps and outputs, with one module a stage and one block a branch."""
    for name in ("stem1", "stem2"):
        x = dense.relu(dense.unit(x, w, name, 2))
    x = dense.residual(x, w, "stage1_block1", 3)
    maps = [dense.relu(dense.unit(x, w, "stage2_new1"))]
    for stage in (2, 3, 4):
        source = x if stage == 2 else maps[-1]
        maps.append(dense.relu(dense.unit(source, w, f"stage{stage}_new{stage}", 2)))
        name = f"stage{stage}_module1"
        maps = [dense.residual(y, w, f"{name}_branch{n}_block1") for n, y in enumerate(maps, 1)]
        sums = []
        for to, total in enumerate(maps, 1):
            for of, y in enumerate(maps, 1):
                path = f"{name}_from{of}_to{to}"
                if of > to:
                    times = 2 ** (of - to)
                    total = total + dense.unit(y, w, path).repeat(times, 1).repeat(times, 2)
                elif of < to:
                    for step in range(1, to - of):
                        y = dense.relu(dense.unit(y, w, f"{path}_step{step}", 2))
                    total = total + dense.unit(y, w, f"{path}_step{to - of}", 2)
            sums.append(dense.relu(total))
        maps = sums
    outputs = {task: dense.prediction(dense.joined(maps), w, task, 4) for task in TASKS}
    outputs["normals"] = dense.unit_vectors(outputs["normals"])
    return {**dict(zip(MAPS, maps)), **outputs}


def test_forward_is_the_network_of_the_paper() -> None:
    x = dense.images(1, 64)
    expected = oracle(x.astype("float64"), dense.weights_by_layer(tiny()))
    actual = dense.maps_at(tiny(), list(expected), x)
    for name, value in expected.items():
        assert value.std() > 0
        dense.close(actual[name], value)


def test_without_tasks_it_gives_the_four_maps() -> None:
    with keras.StatelessScope():
        network = HRNet18(channels=4, modules=(1, 1, 1), blocks=1)
    assert network.filters == FILTERS
    assert list(network.output) == MAPS
    maps = network.compute_output_spec(keras.KerasTensor((2, 64, 96, 4)))
    for name, stride, filters in zip(MAPS, (4, 8, 16, 32), FILTERS):
        assert maps[name].shape == (2, 64 // stride, 96 // stride, filters)
        assert network.output[name].shape == (None, None, None, filters)


def test_half_precision_still_predicts_in_float32() -> None:
    with keras.StatelessScope():
        network = HRNet18(TASKS, width=0.1, modules=(1, 1, 1), blocks=1, dtype="mixed_bfloat16")
    assert network.get_layer("scale1").output.dtype == "bfloat16"
    assert {output.dtype for output in network.outputs} == {"float32"}


def test_normals_alone_have_unit_length_by_default() -> None:
    assert tiny().normalized == ("normals",)
    with keras.StatelessScope():
        network = HRNet18({"a": 2, "b": 3}, modules=(1, 1, 1), blocks=1, normalized=["a"])
    assert type(network.get_layer("a")) is not type(network.get_layer("b"))


def test_round_trip(tmp_path: pathlib.Path) -> None:
    check_config(tiny())
    dense.check_round_trip(tiny(), tmp_path)


def test_a_multi_task_model_trains_trunk_and_heads_from_the_four_maps() -> None:
    network = tiny()
    model = MultiTaskModel(network, shared=MAPS)
    heads = {v.path for v in model.parts.own_variables()}
    assert {path.split("_")[0] for path in heads} == set(TASKS)
    assert not {v.path for v in model.parts.shared_variables()} & heads
    model.compile(
        keras.optimizers.SGD(0.1), "mean_squared_error", balancer="mgda_ub", **dense.COMPILED
    )
    x = dense.images()
    targets = {task: np.ones((*x.shape[:3], number)) for task, number in TASKS.items()}
    before = dense.weights_by_layer(network)
    history = model.fit(x, targets, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"][0])
    after = dense.weights_by_layer(network)
    for name in ("stem1_conv/kernel", "depth_conv/kernel", "normals_head_conv/kernel"):
        assert not np.array_equal(before[name], after[name])


def test_sides_must_divide_by_32() -> None:
    for size in (48, 33):
        with pytest.raises(ValueError, match="multiples of 32"):
            tiny()(np.ones((1, 64, size, 3), "float32"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": {}}, "`tasks` must be a dictionary"),
        ({"tasks": {"a/b": 1}}, "`tasks` must be a dictionary"),
        ({"tasks": {"a": 0}}, "`tasks` must be a dictionary"),
        ({"tasks": {"a": 1}, "normalized": ["b"]}, "`normalized` must be a list of names"),
        ({"normalized": ["a"]}, "`normalized` names tasks"),
        ({"width": 0}, "`width` must be positive"),
        ({"modules": (1, 2)}, "`modules` must hold three"),
        ({"blocks": 0}, "`modules` must hold three"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HRNet18(**arguments)
