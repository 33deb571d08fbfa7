"""SegNet and its form with attention in float64 NumPy, from the papers, by names of layers."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from tests.oracles import convolution


class Oracle:
    """Runs the networks at inference with the weights of `network`."""

    def __init__(self, network: keras.Model) -> None:
        self.network = network

    def weights(self, name: str) -> list[np.ndarray]:
        layer = self.network.get_layer(name)
        return [ops.convert_to_numpy(v).astype("float64") for v in layer.weights]

    def unit(self, x: np.ndarray, name: str, sigmoid: bool = False) -> np.ndarray:
        kernel, bias = self.weights(f"{name}_conv")
        x = convolution(x, kernel, padding="same") + bias
        gamma, beta, mean, variance = self.weights(f"{name}_norm")
        x = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
        return 1 / (1 + np.exp(-x)) if sigmoid else np.maximum(x, 0)

    def units(self, x: np.ndarray, level: str, count: int) -> Iterator[np.ndarray]:
        for number in range(1, count + 1):
            x = self.unit(x, f"{level}_unit{number}")
            yield x

    def shared(self, x: np.ndarray) -> dict:
        """First and last maps of the encoder, unpooled and last maps of the decoder, by level."""
        maps: dict = {"first": {}, "last": {}, "unpooled": {}, "decoder": {}}
        masks = {}
        for level, count in zip(range(1, 6), (2, 2, 3, 3, 3)):
            outputs = list(self.units(x, f"encoder{level}", count))
            maps["first"][level], maps["last"][level] = outputs[0], outputs[-1]
            x, masks[level] = pool(outputs[-1])
        maps["bottleneck"] = x
        for level, count in zip(range(5, 0, -1), (3, 3, 3, 2, 2)):
            x = maps["unpooled"][level] = repeated(x) * masks[level]
            x = maps["decoder"][level] = list(self.units(x, f"decoder{level}", count))[-1]
        return maps

    def attended(self, maps: dict, task: str) -> np.ndarray:
        """The last map of a task's attention network."""
        x = None
        for level in range(1, 6):
            name = f"{task}_encoder{level}"
            start = maps["first"][level]
            start = start if x is None else np.concatenate([start, x], axis=-1)
            x = self.mask(start, name) * maps["last"][level]
            x = pool(self.unit(x, f"encoder{level}_between"))[0]
        for level in range(5, 0, -1):
            x = self.unit(doubled(x), f"decoder{level}_between")
            start = np.concatenate([maps["unpooled"][level], x], axis=-1)
            x = self.mask(start, f"{task}_decoder{level}") * maps["decoder"][level]
        return x

    def mask(self, x: np.ndarray, name: str) -> np.ndarray:
        return self.unit(self.unit(x, f"{name}_attention1"), f"{name}_attention2", sigmoid=True)

    def head(self, x: np.ndarray, task: str) -> np.ndarray:
        first, first_bias, second, second_bias = self.weights(f"{task}_head")
        return (convolution(x, first, padding="same") + first_bias) @ second[0, 0] + second_bias


def randomize(network: keras.Model) -> None:
    """Draws biases and normalisations anew; the kernels keep Xavier's values."""
    rng = np.random.default_rng(2)
    for variable in network.weights:
        shape = tuple(variable.shape)
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) == 1:
            variable.assign(rng.normal(scale=0.3, size=shape))


def pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima of 2x2 windows, and a map that is 1 at the first maximum of each."""
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    windows = windows.reshape(*windows.shape[:4], 4)
    mask = np.eye(4)[windows.argmax(-1)].reshape(*windows.shape[:4], 2, 2)
    return windows.max(-1), mask.transpose(0, 1, 4, 2, 5, 3).reshape(x.shape)


def repeated(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def doubled(x: np.ndarray) -> np.ndarray:
    """Bilinear, with the corners in place."""
    for axis in (1, 2):
        old = x.shape[axis]
        places = np.linspace(0, old - 1, 2 * old)
        matrix = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old)))
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x
