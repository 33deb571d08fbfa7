"""`Conv2D` is Keras's own, in values, gradients, weights and configuration."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import Conv2D
from tests.harness import Weights, check_layer
from tests.oracles import convolution

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "options",
    [{}, {"strides": 2, "padding": "same"}, {"groups": 2}, {"dilation_rate": 2, "use_bias": False}],
)
@pytest.mark.parametrize("size", [2, 3, (1, 5)])
def test_equals_the_layer_of_keras(size: int | tuple[int, int], options: dict) -> None:
    x = RNG.normal(size=(2, 9, 10, 4)).astype("float32")
    ours, theirs = (kind(6, size, **options) for kind in (Conv2D, keras.layers.Conv2D))
    for layer in (ours, theirs):
        layer.build(x.shape)
    # Not those of a fresh layer, whose biases are zero.
    weights = [RNG.normal(size=weight.shape) for weight in theirs.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours(x)), ops.convert_to_numpy(theirs(x)), atol=1e-4
    )


@pytest.mark.parametrize("size, strides, zeros", [(3, 2, 1), (3, 2, (0, 1)), (5, 2, 2), (1, 2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_zeros_stand_at_both_ends(size: int, strides: int, zeros: int | tuple, groups: int) -> None:
    x = RNG.normal(size=(2, 8, 7, 4)).astype("float32")
    rows, columns = (zeros, zeros) if isinstance(zeros, int) else zeros
    padded = np.pad(x, [(0, 0), (rows, rows), (columns, columns), (0, 0)])
    ours = Conv2D(6, size, strides=strides, padding=zeros, groups=groups)
    theirs = keras.layers.Conv2D(6, size, strides=strides, groups=groups)
    ours.build(x.shape)
    theirs.build(padded.shape)
    ours.set_weights([RNG.normal(size=weight.shape) for weight in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    outputs = ops.convert_to_numpy(ours(x))
    np.testing.assert_allclose(outputs, ops.convert_to_numpy(theirs(padded)), atol=1e-4)
    assert ours.compute_output_shape(x.shape) == outputs.shape
    again = Conv2D.from_config(json.loads(json.dumps(ours.get_config())))
    assert again.padding == (rows, columns)


@pytest.mark.parametrize(
    "options", [{"padding": -1}, {"padding": (1, 1, 1)}, {"padding": 1.5},
                {"padding": 1, "data_format": "channels_first"}],
)  # fmt: skip
def test_refuses_zeros_that_cannot_be_counted(options: dict) -> None:
    with pytest.raises((ValueError, TypeError), match="padding="):
        Conv2D(4, 3, **options)


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    def oracle(x: np.ndarray, w: Weights) -> np.ndarray:
        return np.tanh(convolution(x, w["kernel"], 2, padding="same") + w["bias"])

    layer = Conv2D(6, 3, strides=2, padding="same", activation="tanh", name="layer")
    check_layer(layer, RNG.normal(size=(2, 7, 6, 4)), oracle, tmp_path)
