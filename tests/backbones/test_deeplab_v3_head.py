"""`DeepLabV3Head`: branches of several rates, the mean of the map, and the size of the image."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import DeepLabV3Head
from tests.harness import Weights, check_layer
from tests.oracles import convolution, normalization

RNG = np.random.default_rng(0)
RATES = (2, 3)


def enlarged(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Bilinear, with half-pixel centres."""
    for axis, new in ((1, rows), (2, columns)):
        old = x.shape[axis]
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        matrix = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(old)))
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


def oracle(x: np.ndarray, w: Weights) -> np.ndarray:
    def unit(x: np.ndarray, name: str, rate: int = 1) -> np.ndarray:
        kernel = w[f"{name}/kernel"]
        y = convolution(x, kernel, dilation=rate, padding=rate * (kernel.shape[0] // 2))
        part = f"{name}_normalization"
        moments = (w[f"{part}/moving_mean"], w[f"{part}/moving_variance"])
        return np.maximum(normalization(y, w[f"{part}/gamma"], w[f"{part}/beta"], moments), 0)

    parts = [unit(x, "branch_1")]
    parts += [unit(x, f"branch_{number}", rate) for number, rate in enumerate(RATES, start=2)]
    mean = unit(x.mean((1, 2), keepdims=True), "pooled")
    parts.append(np.broadcast_to(mean, parts[0].shape))
    z = unit(np.concatenate(parts, axis=-1), "projection")
    y = z @ w["classifier/kernel"][0, 0] + w["classifier/bias"]
    return enlarged(y, 4 * x.shape[1], 4 * x.shape[2])


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    layer = DeepLabV3Head(3, filters=4, rates=RATES, scale=4, name="layer")
    check_layer(layer, RNG.normal(size=(2, 4, 3, 5)), oracle, tmp_path)


def test_depth_head_of_a_named_level_has_the_size_that_was_asked_for() -> None:
    head = DeepLabV3Head(1, filters=4, rates=(1,), size=(9, 7), level="level5", dropout=0.5)
    maps = {"level4": np.ones((2, 4, 4, 3)), "level5": np.ones((2, 2, 2, 6), "float32")}
    assert tuple(head(maps, training=True).shape) == (2, 9, 7, 1)
    inputs = {"level4": keras.Input((4, 4, 3)), "level5": keras.Input((2, 2, 6))}
    assert head(inputs).shape == (None, 9, 7, 1)
    with pytest.raises(ValueError, match=r"level='level5' with the maps \['level4'\]"):
        head({"level4": maps["level4"]})


def test_training_drops_channels_of_what_is_classified() -> None:
    head = DeepLabV3Head(2, filters=4, rates=(1,), scale=1, dropout=0.5)
    x = RNG.normal(size=(8, 2, 2, 3)).astype("float32")
    first, second = (ops.convert_to_numpy(head(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    first, second = (ops.convert_to_numpy(head(x)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_outputs_are_float32_in_half_precision() -> None:
    head = DeepLabV3Head(2, filters=4, rates=(1,), scale=2, dtype="mixed_bfloat16")
    y = head(np.ones((1, 2, 2, 3), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == "float32"


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 0, "scale": 1},
        {"channels": 1, "rates": (0,), "scale": 1},
        {"channels": 1, "dropout": 1.0, "scale": 1},
        {"channels": 1},
        {"channels": 1, "scale": 2, "size": (4, 4)},
    ],
)
def test_bad_arguments_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="Received: "):
        DeepLabV3Head(**options)
