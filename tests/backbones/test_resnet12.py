"""`ResNet12`: its size, the network of the paper in NumPy, and what it drops."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ResNet12
from tests import oracles
from tests.harness import check_config, randomize, weights_of

RNG = np.random.default_rng(0)


def oracle(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """The features at inference, of Lee et al. 2019."""

    def unit(x: np.ndarray, name: str) -> np.ndarray:
        norm = f"{name}_normalization"
        gamma, beta, mean, variance = (
            w[f"{norm}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        y = oracles.convolution(x, w[f"{name}/kernel"], padding="same")
        return oracles.normalization(y, gamma, beta, (mean, variance))

    def leaky(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0.1 * x)

    for number in range(1, 5):
        name = f"block{number}"
        y = leaky(unit(leaky(unit(x, f"{name}/convolution1")), f"{name}/convolution2"))
        y = leaky(unit(y, f"{name}/convolution3") + unit(x, f"{name}/shortcut"))
        height, width = y.shape[1] // 2, y.shape[2] // 2
        y = y[:, : 2 * height, : 2 * width].reshape(len(y), height, 2, width, 2, -1)
        x = y.max((2, 4))
    return x.mean((1, 2))


def test_features_are_those_of_the_paper() -> None:
    network = ResNet12(width=0.0375)
    randomize(network)
    x = RNG.normal(size=(2, 17, 16, 3))
    wanted = oracle(x, weights_of(network))
    found = ops.convert_to_numpy(network(x.astype("float32")))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    check_config(network)


def test_size_and_channels() -> None:
    network = ResNet12()
    count, channels = 0, 3
    for filters in (64, 160, 320, 640):
        count += 9 * channels * filters + 2 * 9 * filters**2 + channels * filters + 8 * filters
        channels = filters
    found = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert found == count == 12_424_320
    assert network.filters == 640


def test_training_drops_and_inference_does_not() -> None:
    network = ResNet12(drop_rate=0.3, width=0.0375, pooling=None, seed=0)
    x = RNG.normal(size=(4, 32, 32, 3)).astype("float32")
    first, second = (ops.convert_to_numpy(network(x, training=True)) for _ in range(2))
    assert (first == 0).mean() > 0.05 and (first != second).any()
    assert (ops.convert_to_numpy(network(x)) != 0).all()
    assert first.shape == (4, 2, 2, network.filters)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`width` must be positive"):
        ResNet12(width=0.0)
    with pytest.raises(ValueError, match="`rate` must be in"):
        ResNet12(drop_rate=1.5, width=0.1)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        ResNet12(width=0.0375)(np.zeros((1, 8, 8, 3), "float32"))
