"""`MLP` against NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import MLP
from tests.harness import randomize


def test_layers_are_those_that_were_asked_for() -> None:
    network = MLP(3, (4, 5), "tanh")
    randomize(network)
    x = np.random.default_rng(0).normal(size=(2, 3))
    wanted = x
    for name in ("dense1", "dense2"):
        kernel, bias = (ops.convert_to_numpy(v) for v in network.get_layer(name).weights)
        wanted = np.tanh(wanted @ kernel + bias)
    found = ops.convert_to_numpy(network(x.astype("float32")))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_layers_start_apart_and_sizes_are_checked() -> None:
    network = MLP(4, (4, 4))
    first, second = (ops.convert_to_numpy(layer.kernel) for layer in network.layers[1:])
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match="must be positive"):
        MLP(1, ())
