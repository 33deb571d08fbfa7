"""Networks, batches and streams small enough to train in a test; all weights come from NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.layers import BatchNormalization
from keras_univrep.models import MultiDomainModel, UniversalDistiller

CLASSES = {"photo": 5, "sketch": 3}
SIZE = 16

Batch = dict[str, np.ndarray]


def images(seed: int, count: int = 8, size: int = SIZE) -> np.ndarray:
    """Normal noise of shape (count, size, size, 3)."""
    return np.random.default_rng(seed).normal(size=(count, size, size, 3)).astype("float32")


def batch(
    seed: int, classes: Mapping[str, int] = CLASSES, count: int = 8, size: int = SIZE
) -> tuple[Batch, Batch]:
    """Images and labels of each domain."""
    rng = np.random.default_rng(1000 + seed)
    x = {name: images(10 * seed + i, count, size) for i, name in enumerate(classes)}
    y = {name: rng.integers(0, classes[name], count) for name in classes}
    return x, y


class Stream(keras.utils.PyDataset):
    """The same few batches in the same order, epoch after epoch."""

    def __init__(self, length: int, first: int = 0, weights: Any = None) -> None:
        super().__init__()
        self.length, self.first, self.weights = length, first, weights

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple:
        data = batch(self.first + index)
        return data if self.weights is None else (*data, self.weights)


def conv_backbone(filters: int, name: str = "backbone") -> keras.Model:
    """Two convolutions with batch normalisation: images to (batch, filters)."""
    inputs = x = keras.Input((None, None, 3))
    for number, width in enumerate((filters // 2, filters)):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="valid", name=f"conv{number}")(x)
        x = keras.layers.ReLU()(BatchNormalization(name=f"norm{number}")(x))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name=name)


def draw_weights(model: keras.Model, seed: int) -> keras.Model:
    """Replaces every floating weight by NumPy numbers of the size that its role asks for."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "int" in weight.dtype:
            continue
        shape = tuple(weight.shape)
        value = rng.normal(size=shape)
        if weight.path.endswith("moving_variance"):
            value = 1.0 + 0.2 * np.abs(value)
        elif weight.path.endswith("gamma"):
            value = 1.0 + 0.1 * value
        elif len(shape) > 1:
            value = value * np.sqrt(2.0 / np.prod(shape[:-1]))
        else:
            value = 0.1 * value
        weight.assign(value.astype("float32"))
    return model


def network(seed: int, classes: Mapping[str, int] = CLASSES, filters: int = 8) -> MultiDomainModel:
    """A small multi-domain network."""
    return draw_weights(MultiDomainModel(conv_backbone(filters), classes), seed)


def teachers(classes: Mapping[str, int] = CLASSES) -> dict[str, MultiDomainModel]:
    """A teacher for each domain, with more features than the student."""
    return {
        name: network(100 + i, {name: count}, filters=12)
        for i, (name, count) in enumerate(classes.items())
    }


def distiller(seed: int = 1, **kwargs: Any) -> UniversalDistiller:
    """A student with two teachers."""
    model = UniversalDistiller(network(seed), teachers(), **kwargs)
    for i, adapter in enumerate(model.alignment_adapters):
        draw_weights(adapter, 200 + i)
    return model


def weights(model: keras.Model) -> list[np.ndarray]:
    """Copies of all weights."""
    return [np.array(ops.convert_to_numpy(w)) for w in model.weights]


def numpy(value: Any) -> np.ndarray:
    """float64 copy of a tensor."""
    return np.array(ops.convert_to_numpy(ops.cast(value, "float32"))).astype("float64")


def assert_equal_weights(first: keras.Model, second: keras.Model, **tolerance: float) -> None:
    """Compares all weights, and the optimizer's where there is one; bit for bit by default."""
    pairs = list(zip(first.weights, second.weights, strict=True))
    if getattr(first, "optimizer", None) is not None:
        pairs += zip(first.optimizer.variables, second.optimizer.variables, strict=True)
    for a, b in pairs:
        a, b = ops.convert_to_numpy(a), ops.convert_to_numpy(b)
        if tolerance:
            np.testing.assert_allclose(a, b, **tolerance)
        else:
            np.testing.assert_array_equal(a, b)
