"""`Conv4` against NumPy, and its published sizes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import Conv4
from tests import oracles


def draw(network: Conv4, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        value = 0.3 * rng.normal(size=tuple(weight.shape))
        if weight.path.endswith(("variance", "gamma")):
            value = 1.0 + np.abs(value)
        weight.assign(value.astype("float32"))


def expected(network: Conv4, x: np.ndarray, training: bool) -> np.ndarray:
    """The last map, in float64."""
    for convolution, layer in zip(network.convolutions, network.normalizations, strict=True):
        kernel, bias, gamma, beta, mean, variance = (
            ops.convert_to_numpy(v).astype("float64")
            for v in (*convolution.weights, *layer.weights)
        )
        x = oracles.convolution(x, kernel, padding="same") + bias
        x = oracles.normalization(x, gamma, beta, None if training else (mean, variance))
        x = np.maximum(x, 0.0)
        rows, columns = (size // 2 * 2 for size in x.shape[1:3])
        x = x[:, :rows, :columns]
        x = x.reshape(len(x), rows // 2, 2, columns // 2, 2, -1).max((2, 4))
    return x


@pytest.mark.parametrize(("channels", "count"), [(1, 111936), (3, 113088)])
def test_parameter_counts_are_the_published_ones(channels: int, count: int) -> None:
    network = Conv4(64, 28, channels)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == count
    assert network.filters == 64
    assert Conv4(64, 84).filters == 1600
    assert sum(int(np.prod(v.shape)) for v in Conv4(32, 84).trainable_variables) == 28896


@pytest.mark.parametrize("training", [False, True])
def test_features_equal_numpy(training: bool) -> None:
    network = Conv4(3, (35, 18), 2)
    draw(network)
    x = np.random.default_rng(1).normal(size=(3, 35, 18, 2))
    wanted = expected(network, x, training)
    assert wanted.shape == (3, 2, 1, 3)
    found = ops.convert_to_numpy(network(x.astype("float32"), training=training))
    np.testing.assert_allclose(found, wanted.reshape(3, -1), rtol=2e-4, atol=2e-5)


def test_poolings_are_of_the_same_map(tmp_path) -> None:
    networks = {pooling: Conv4(3, 32, 1, pooling) for pooling in ("flatten", "avg", None)}
    for network in networks.values():
        draw(network)
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 1)).astype("float32")
    found = {key: ops.convert_to_numpy(network(x)) for key, network in networks.items()}
    assert found[None].shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(found["flatten"], found[None].reshape(2, -1))
    np.testing.assert_allclose(found["avg"], found[None].mean((1, 2)), rtol=1e-5)
    for key, network in networks.items():
        symbolic = network(keras.Input((32, 32, 1)))
        assert tuple(symbolic.shape) == (None, *found[key].shape[1:])
        assert symbolic.shape[-1] == network.filters
    model = networks["flatten"]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), found["flatten"])
    assert again.get_config() == model.get_config()


def test_what_cannot_be_is_refused() -> None:
    for arguments in ({"filters": 0}, {"image_size": 15}, {"channels": 1.0}, {"pooling": "max"}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            Conv4(**arguments)
    network = Conv4(2, 28, 1)
    for shape in ((1, 28, 28, 3), (1, 32, 28, 1), (28, 28, 1)):
        with pytest.raises(ValueError, match="must have shape"):
            network(np.zeros(shape, "float32"))
    with pytest.raises(ValueError, match="at least 16 pixels"):
        Conv4(2, 28, 1, "avg")(np.zeros((1, 15, 28, 1), "float32"))
