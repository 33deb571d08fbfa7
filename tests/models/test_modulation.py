"""Weights of channels act on what a normalisation gives, whether or not it scales and shifts."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.models._inner_loop import tensors_of
from keras_univrep.models._modulation import ModulatedLayers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 6, 2)).astype("float32")
WEIGHTS = np.array([0.0, 0.5, 1.3], "float32")


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_outputs_of_a_normalisation_are_weighed(options: dict[str, bool]) -> None:
    network = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            Conv2D(3, 3),
            BatchNormalization(**options),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    convolution, normalization = network.layers[:2]
    for variable in normalization.trainable_variables:
        variable.assign(RNG.uniform(0.5, 1.5, 3))
    layers = ModulatedLayers(network, None)
    assert layers.channels == 3
    found, _ = layers.function()(tensors_of(network.trainable_variables), (X, WEIGHTS))

    y = ops.convert_to_numpy(convolution(X)).astype("float64")
    y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + normalization.epsilon)
    if normalization.scale:
        y = y * ops.convert_to_numpy(normalization.gamma)
    if normalization.center:
        y = y + ops.convert_to_numpy(normalization.beta)
    expected = np.maximum(y * (1 - WEIGHTS), 0).mean((1, 2))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4, atol=1e-5)
