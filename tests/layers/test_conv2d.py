"""`Conv2D` is Keras's own, in values, gradients, weights and configuration."""

from __future__ import annotations

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
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours(x)), ops.convert_to_numpy(theirs(x)), atol=1e-5
    )


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    def oracle(x: np.ndarray, w: Weights) -> np.ndarray:
        return np.tanh(convolution(x, w["kernel"], 2, padding="same") + w["bias"])

    layer = Conv2D(6, 3, strides=2, padding="same", activation="tanh", name="layer")
    check_layer(layer, RNG.normal(size=(2, 7, 6, 4)), oracle, tmp_path)
