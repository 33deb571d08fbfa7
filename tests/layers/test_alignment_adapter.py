"""`AlignmentAdapter` against matrix products in NumPy."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import AlignmentAdapter
from tests.harness import Weights, check_layer

RNG = np.random.default_rng(0)


def linear(z: np.ndarray, w: Weights) -> np.ndarray:
    return z @ w["kernel"]


def nonlinear(z: np.ndarray, w: Weights) -> np.ndarray:
    return np.maximum(z @ w["hidden_kernel"], 0.0) @ w["kernel"]


def none(z: np.ndarray, w: Weights) -> np.ndarray:
    return z


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 2, 4)])
@pytest.mark.parametrize(
    ("oracle", "units"),
    [(linear, 3), (linear, None), (nonlinear, 3), (nonlinear, None), (none, None), (none, 4)],
)
def test_owes_what_every_layer_owes(
    oracle: object, units: int | None, shape: tuple[int, ...], tmp_path: pathlib.Path
) -> None:
    layer = AlignmentAdapter(units, kind=oracle.__name__, name="layer")
    check_layer(layer, RNG.normal(size=shape), oracle, tmp_path)


def test_none_returns_the_features_themselves() -> None:
    z = RNG.normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(AlignmentAdapter(kind="none")(z)), z)


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_positions_do_not_mix(kind: str) -> None:
    z = RNG.normal(size=(2, 3, 3, 4)).astype("float32")
    layer = AlignmentAdapter(6, kind=kind)
    before = ops.convert_to_numpy(layer(z))
    z[0, 1, 2] += 1.0
    changed = np.any(ops.convert_to_numpy(layer(z)) != before, axis=-1)
    assert list(zip(*np.nonzero(changed))) == [(0, 1, 2)]


# The sizes of the decathlon and the few-shot networks.
@pytest.mark.parametrize(
    ("channels", "kind", "count"),
    [(256, "linear", 65_536), (512, "linear", 262_144), (256, "nonlinear", 4 * 65_536)],
)
def test_parameter_count(channels: int, kind: str, count: int) -> None:
    layer = AlignmentAdapter(kind=kind)
    layer.build((None, channels))
    assert layer.count_params() == count


def test_layers_start_from_different_matrices() -> None:
    layers = [AlignmentAdapter(4) for _ in range(2)]
    for layer in layers:
        layer.build((None, 4))
    first, second = (ops.convert_to_numpy(layer.kernel) for layer in layers)
    assert not np.array_equal(first, second)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'linear', 'nonlinear', 'none'.*kind='quadratic'"):
        AlignmentAdapter(kind="quadratic")


def test_without_an_adapter_the_channels_must_agree() -> None:
    with pytest.raises(ValueError, match="units=3, channels=4"):
        AlignmentAdapter(3, kind="none")(np.ones((1, 4), "float32"))
