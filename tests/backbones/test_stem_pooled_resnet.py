"""`StemPooledResNet` and `ResNet10`: the published sizes, and the network of the paper in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ResNet10, StemPooledResNet
from tests import oracles
from tests.harness import check_config, randomize, weights_of

RNG = np.random.default_rng(0)


def pad(x: np.ndarray, size: int) -> np.ndarray:
    return np.pad(x, [(0, 0), (size, size), (size, size), (0, 0)])


def oracle(x: np.ndarray, w: dict[str, np.ndarray], blocks: list[int]) -> np.ndarray:
    """The features of He et al. 2016 at inference."""

    def unit(x: np.ndarray, name: str, norm: str, stride: int, padding: int) -> np.ndarray:
        y = oracles.convolution(pad(x, padding), w[f"{name}/kernel"], stride)
        gamma, beta, mean, variance = (
            w[f"{norm}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return oracles.normalization(y, gamma, beta, (mean, variance))

    x = pad(np.maximum(unit(x, "stem", "stem_normalization", 2, 3), 0.0), 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    x = windows[:, ::2, ::2].max((-1, -2))
    for stage, count in enumerate(blocks):
        for number in range(count):
            name = f"stage{stage + 1}_block{number + 1}"
            stride = 2 if stage and not number else 1

            def of(x: np.ndarray, part: str, stride: int, padding: int, name: str = name):
                path = f"{name}/{part}"
                return unit(x, path, f"{path}_normalization", stride, padding)

            y = np.maximum(of(x, "convolution1", stride, 1), 0.0)
            y = of(y, "convolution2", 1, 1)
            if f"{name}/projection/kernel" in w:
                x = of(x, "projection", stride, 0)
            x = np.maximum(y + x, 0.0)
    return x.mean((1, 2))


@pytest.mark.parametrize("blocks", [[1, 1, 1, 1], [2, 2, 2, 2]])
def test_features_are_those_of_the_paper(blocks: list[int]) -> None:
    network = StemPooledResNet(blocks, width=0.0625)
    randomize(network)
    x = RNG.normal(size=(2, 33, 40, 3))
    wanted = oracle(x, weights_of(network), blocks)
    found = ops.convert_to_numpy(network(x.astype("float32")))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert found.shape == (2, network.filters) == (2, 32)
    check_config(network)


def test_a_map_without_pooling_and_resnet10() -> None:
    network = ResNet10(0.0625, pooling=None)
    x = np.zeros((1, 64, 32, 3), "float32")
    assert tuple(network(x).shape) == (1, 2, 1, 32)
    assert tuple(network.compute_output_spec(x).shape) == (1, 2, 1, 32)
    assert len(network.blocks) == 4


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`blocks` must be 4 positive integers"):
        StemPooledResNet((2, 2, 0, 2))
    with pytest.raises(ValueError, match="`width` must be positive"):
        ResNet10(0.0)
    with pytest.raises(ValueError, match="`pooling` must be"):
        ResNet10(0.0625, pooling="max")
    with pytest.raises(ValueError, match=r"must have shape \(batch, height, width, 3\)"):
        ResNet10(0.0625)(np.zeros((1, 64, 64, 1), "float32"))
