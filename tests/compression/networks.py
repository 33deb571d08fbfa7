"""Small adapted networks whose weights are those of no fresh one, and how to compare outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.layers import BatchNormalization
from keras_univrep.models import MultiDomainModel

SIZE = 16
CLASSES = {"photo": 4, "sketch": 3}


def zoo() -> keras.Model:
    """Normalisations that can be folded (`FOLDED`), and all kinds that cannot (`KEPT`)."""
    layers = keras.layers
    images = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(images)
    x = layers.ReLU()(layers.BatchNormalization(name="after_stem")(x))
    x = layers.Conv2D(8, 3, padding="same", groups=2, name="grouped")(x)
    x = layers.ReLU()(layers.BatchNormalization(scale=False, name="after_grouped")(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(center=False, name="after_depthwise")(x)
    both = layers.Conv2D(8, 1, name="both")(x)  # Its output is read twice.
    x = layers.Add()([both, layers.BatchNormalization(name="after_both")(both)])
    twice = layers.Conv2D(8, 3, padding="same", name="twice")
    x = layers.BatchNormalization(name="after_twice")(twice(layers.ReLU()(twice(x))))
    x = layers.Conv2D(8, 3, name="activated", activation="relu")(x)
    x = BatchNormalization(name="after_activated")(x)
    entry = keras.Input((None, None, 8))
    inner = layers.Conv2D(6, 3, strides=2, use_bias=False, name="conv")(entry)
    inner = keras.Model(entry, BatchNormalization(name="after_conv")(inner), name="inner")
    x = ops.relu(inner(x) + 0.1)
    x = layers.LayerNormalization(name="layer_normalization")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.BatchNormalization(name="after_dense")(layers.Dense(10, name="dense")(x))
    return keras.Model(images, layers.Activation("tanh")(x), name="zoo")


FOLDED = {"after_stem", "after_grouped", "after_depthwise", "inner/after_conv", "after_dense"}
KEPT = {"after_both", "after_twice", "after_activated"}


def conv_net() -> keras.Model:
    """Three plain convolutions with normalisations: to maps of eight channels."""
    images = x = keras.Input((None, None, 3))
    for number, filters in enumerate((4, 6, 8)):
        x = keras.layers.Conv2D(filters, 3, use_bias=number == 1, name=f"conv{number}")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"norm{number}")(x))
    return keras.Model(images, x, name="conv_net")


@keras.saving.register_keras_serializable(package="tests.compression")
class Subclassed(keras.Model):
    """A trunk whose graph is code, of layers that have names, or get them from Keras."""

    def __init__(self, use_bias: bool = True, names: Any = (None,) * 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = 5
        self.use_bias = use_bias
        self.names = names
        self.first = keras.layers.Conv2D(4, 3, use_bias=use_bias, name=names[0])
        self.norm = keras.layers.BatchNormalization(name=names[1])
        self.last = keras.layers.Conv2D(5, 3, use_bias=use_bias, name=names[2])

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.last(ops.relu(self.norm(self.first(images), training=training)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "use_bias": self.use_bias, "names": list(self.names)}


def subclassed(**options: Any) -> Subclassed:
    """A built `Subclassed`."""
    trunk = Subclassed(name="subclassed", **options)
    trunk(images(1))
    return trunk


def adapted(trunk: keras.Model, **options: Any) -> MultiDomainModel:
    """A network of two domains with random weights everywhere."""
    return settle(MultiDomainModel(AdaptedBackbone(trunk, list(CLASSES), **options), CLASSES))


def settle(model: keras.Model, seed: int = 0) -> keras.Model:
    """Draws every weight from NumPy, in the size that keeps activations near one."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        name, shape = variable.path.split("/")[-1], tuple(variable.shape)
        value = rng.normal(size=shape)
        if "variance" in name:
            value = 0.5 + np.abs(value)
        elif "gamma" in name:
            value = np.where(value < 0, -1.0, 1.0) * (0.7 + 0.1 * np.abs(value))
        elif len(shape) > 1:
            fan = np.prod(shape[:-2] if "depthwise" in variable.path else shape[:-1])
            value = value * (0.5 if "adapter_" in variable.path else 1.0) / np.sqrt(fan)
        else:
            value = 0.2 * value
        variable.assign(value.astype("float32"))
    return model


def images(count: int = 3, size: int = SIZE) -> np.ndarray:
    """Normal noise of shape (count, size, size, 3)."""
    return np.random.default_rng(1).normal(size=(count, size, size, 3)).astype("float32")


def numpy(value: Any) -> np.ndarray:
    """A float64 copy of a tensor or variable."""
    return np.array(ops.convert_to_numpy(value)).astype("float64")


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Compares relative to the largest expected number, which must not be trivial."""
    actual, expected = numpy(actual), numpy(expected)
    assert actual.shape == expected.shape
    largest = np.abs(expected).max()
    assert 1e-3 < largest < 1e4 and np.ptp(expected) > 1e-3 * largest
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * largest)
