"""Tiny trained-looking trunks, of every kind of layer that can be adapted."""

from __future__ import annotations

import keras
import numpy as np

SIZE = 12


def functional(pooled: bool = True, dtype: str = "float32") -> keras.Model:
    """Strides, a layer used twice, groups, a depthwise and an even kernel, a dense layer."""
    layers = keras.layers
    images = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="first", dtype=dtype)(
        images
    )
    x = layers.BatchNormalization(name="bn1", dtype=dtype)(x)
    x = layers.ReLU(dtype=dtype)(x)
    shared = layers.Conv2D(4, 3, padding="same", groups=2, name="shared", dtype=dtype)
    x = shared(layers.ReLU(dtype=dtype)(shared(x)))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise", dtype=dtype)(x)
    x = layers.BatchNormalization(name="bn2", dtype=dtype)(x)
    x = layers.Conv2D(6, 1, activation="relu", name="pointwise", dtype=dtype)(x)
    x = layers.Conv2D(6, 2, name="even", dtype=dtype)(x)
    if pooled:
        x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
        x = layers.Dense(5, activation="tanh", name="dense", dtype=dtype)(x)
    return trained(keras.Model(images, x, name="trunk"))


@keras.saving.register_keras_serializable(package="tests.backbones")
class Subclassed(keras.Model):
    """A trunk whose graph is Python code, with a block of its own and a layer called "stem"."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.filters = 5
        self.first = keras.layers.Conv2D(4, 3, name="first")
        self.block = Block(name="block")
        self.last = keras.layers.Conv2D(5, 3, name="stem")
        self.norm = keras.layers.LayerNormalization(name="norm")

    def build(self, shape) -> None:
        for layer in (self.first, self.block, self.last, self.norm):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, images, training=None):
        return self.norm(self.last(self.block(self.first(images), training=training)))


@keras.saving.register_keras_serializable(package="tests.backbones")
class Block(keras.layers.Layer):
    """A residual block."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(4, 3, padding="same", name="conv")
        self.bn = keras.layers.BatchNormalization(name="bn")

    def build(self, shape) -> None:
        self.conv.build(shape)
        self.bn.build(shape)

    def compute_output_shape(self, shape):
        return shape

    def call(self, x, training=None):
        return keras.ops.relu(x + self.bn(self.conv(x), training=training))


def subclassed() -> Subclassed:
    """A built `Subclassed`."""
    trunk = Subclassed(name="trunk")
    trunk(np.zeros((1, SIZE, SIZE, 3), "float32"))
    return trained(trunk)


def trained(trunk: keras.Model) -> keras.Model:
    """Moves every weight a little, so that no normalisation is the identity."""
    rng = np.random.default_rng(0)
    for variable in trunk.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(variable + 0.1 * np.abs(rng.normal(size=tuple(variable.shape))))
    return trunk


def images(count: int = 2, size: int = SIZE) -> np.ndarray:
    """Images of shape (count, size, size, 3)."""
    return np.random.default_rng(1).normal(size=(count, size, size, 3)).astype("float32")


@keras.saving.register_keras_serializable(package="tests.backbones")
class Pyramid(keras.Model):
    """A functional model as KerasHub builds its backbones: a class with a configuration of its own.

    Its layers have the names that Keras chose. It knows its inner maps as `pyramid_outputs`, and
    can be told to return all of them.
    """

    def __init__(
        self,
        filters: tuple[int, ...] = (4, 6),
        named: bool = False,
        every: bool = False,
        dtype: object = None,
        **kwargs: object,
    ) -> None:
        layers = keras.layers
        x = images = keras.Input((None, None, 3), name="images")
        maps = {}
        for level, size in enumerate(filters):
            x = layers.Conv2D(size, 3, strides=2, padding="same", dtype=dtype)(x)
            x = layers.ReLU(dtype=dtype)(layers.BatchNormalization(dtype=dtype)(x))
            maps[f"P{level + 1}"] = x
        super().__init__(
            inputs={"images": images} if named else images, outputs=maps if every else x, **kwargs
        )
        self.sizes, self.named, self.every = tuple(filters), named, every
        self.pyramid_outputs = maps

    def get_config(self) -> dict[str, object]:
        own = {"filters": self.sizes, "named": self.named, "every": self.every}
        return {"name": self.name, "trainable": self.trainable, **own}

    @classmethod
    def from_config(cls, config: dict[str, object]) -> Pyramid:
        return cls(**config)


@keras.saving.register_keras_serializable(package="tests.backbones")
class Unnamed(keras.Model):
    """A trunk whose graph is Python code, of layers with the names that Keras chose."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.filters = 4
        self.convolutions = [keras.layers.Conv2D(4, 3, padding="same") for _ in range(3)]
        self.norm = keras.layers.BatchNormalization()

    def build(self, shape) -> None:
        for layer in (*self.convolutions, self.norm):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, images, training=None):
        for layer in self.convolutions:
            images = layer(images)
        return self.norm(images, training=training)


def unnamed() -> Unnamed:
    """A built `Unnamed`."""
    trunk = Unnamed(name="trunk")
    trunk(np.zeros((1, SIZE, SIZE, 3), "float32"))
    return trained(trunk)
