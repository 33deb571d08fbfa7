"""What the tests of the networks for dense prediction share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import keras
import numpy as np

from tests import oracles
from tests.harness import Weights

FILTERS = (18, 36, 72, 144)
# XLA takes long for TensorFlow's graphs of many small maps; JAX has no other way.
COMPILED = {"jit_compile": keras.backend.backend() == "jax"}
NYU = {"segmentation": 13, "depth": 1, "normals": 3}


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Spares JAX most of its compiling, which takes longer here than what it makes.

    First values of kernels come from NumPy, not from a program for each of many shapes, and the
    programs that are left are optimised little.
    """
    rng = np.random.default_rng(0)

    def draw(self: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        return keras.ops.convert_to_tensor(rng.normal(scale=scale, size=shape).astype("float32"))

    with mock.patch.object(keras.initializers.VarianceScaling, "__call__", draw), _unoptimised():
        yield


@contextlib.contextmanager
def _unoptimised() -> Iterator[None]:
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    option = "jax_disable_most_optimizations"
    before = jax.config.values[option]
    jax.config.update(option, True)
    try:
        yield
    finally:
        jax.config.update(option, before)


def backbone(filters: tuple[int, ...] = (3, 4, 5, 6)) -> keras.Model:
    """A functional model with a map at each of the strides 4, 8, 16 and 32."""
    x = images = keras.Input((None, None, 3), name="images")
    maps = {}
    for number, size in enumerate(filters, start=1):
        stride = 4 if number == 1 else 2
        layer = keras.layers.Conv2D(size, stride, stride, "same", name=f"scale{number}")
        x = maps[f"scale{number}"] = layer(x)
    return keras.Model(images, maps, name="backbone")


def images(count: int = 2, size: int = 32) -> np.ndarray:
    """Images of shape (count, size, size, 3)."""
    return np.random.default_rng(1).uniform(size=(count, size, size, 3)).astype("float32")


def trainable(network: keras.Model) -> int:
    """Number of parameters that training moves."""
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def count(build: Any) -> int:
    """Parameters of a network that is only described: no weight gets a value."""
    with keras.StatelessScope():
        return trainable(build())


def unit_size(taps: int, before: int, after: int) -> int:
    """Parameters of a convolution without bias and its normalisation."""
    return taps * before * after + 2 * after


def basic_size(before: int, after: int) -> int:
    """Parameters of a residual block of two 3x3 units."""
    size = unit_size(9, before, after) + unit_size(9, after, after)
    return size + (unit_size(1, before, after) if before != after else 0)


def bottleneck_size(before: int, inner: int, after: int) -> int:
    """Parameters of a residual block of 1x1, 3x3 and 1x1 units."""
    size = unit_size(1, before, inner) + unit_size(9, inner, inner) + unit_size(1, inner, after)
    return size + (unit_size(1, before, after) if before != after else 0)


def head_size(before: int, after: int) -> int:
    """Parameters of a 1x1 unit and a 1x1 convolution with bias."""
    return unit_size(1, before, before) + before * after + after


def unit(x: np.ndarray, w: Weights, name: str, stride: int = 1) -> np.ndarray:
    """A convolution of odd size, padded evenly, and the normalisation with moving statistics."""
    kernel = w[f"{name}_conv/kernel"]
    edge = kernel.shape[0] // 2
    x = np.pad(x, [(0, 0), (edge, edge), (edge, edge), (0, 0)])
    parts = (w[f"{name}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance"))
    gamma, beta, mean, variance = parts
    y = oracles.convolution(x, kernel, stride)
    return oracles.normalization(y, gamma, beta, (mean, variance))


def relu(x: np.ndarray) -> np.ndarray:
    """The positive part."""
    return np.maximum(x, 0)


def residual(x: np.ndarray, w: Weights, name: str, units: int = 2) -> np.ndarray:
    """A residual block of units with ReLU between them and after the sum."""
    y = x
    for number in range(1, units + 1):
        y = unit(y, w, f"{name}_unit{number}")
        y = relu(y) if number < units else y
    if f"{name}_projection_conv/kernel" in w:
        x = unit(x, w, f"{name}_projection")
    return relu(x + y)


def same(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A convolution that keeps the size."""
    return oracles.convolution(x, kernel, padding="same")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def distilled(
    features: Mapping[str, np.ndarray], w: Weights, level: str = ""
) -> dict[str, np.ndarray]:
    """Own features, and the messages of the other tasks under their attention."""
    return {
        to: own
        + sum(
            sigmoid(same(other, w[f"{to}_from_{of}{level}_attention/kernel"]))
            * same(other, w[f"{to}_from_{of}{level}_message/kernel"])
            for of, other in features.items()
            if of != to
        )
        for to, own in features.items()
    }


def bilinear(x: np.ndarray, factor: int) -> np.ndarray:
    """Up-sampling with half-pixel centres, constant beyond the outer centres."""
    for axis in (1, 2):
        size = x.shape[axis]
        at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.minimum(at.astype(int), max(size - 2, 0))
        shape = [1] * x.ndim
        shape[axis] = -1
        part = (at - low).reshape(shape)
        high = np.minimum(low + 1, size - 1)
        x = (1 - part) * np.take(x, low, axis) + part * np.take(x, high, axis)
    return x


def joined(maps: list[np.ndarray]) -> np.ndarray:
    """All maps at the size of the first."""
    return np.concatenate([bilinear(x, 2**number) for number, x in enumerate(maps)], axis=-1)


def prediction(x: np.ndarray, w: Weights, name: str, factor: int) -> np.ndarray:
    """A 1x1 convolution at the size of the images, after a 1x1 unit if there is one."""
    if f"{name}_head_conv/kernel" in w:
        x = relu(unit(x, w, f"{name}_head"))
    return bilinear(same(x, w[f"{name}_conv/kernel"]) + w[f"{name}_conv/bias"], factor)


def unit_vectors(x: np.ndarray) -> np.ndarray:
    """Channels of length 1."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def weights_by_layer(network: keras.Model) -> Weights:
    """Float64 copies of the weights, by layer and name."""
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable).astype("float64")
        for layer in network.layers
        for variable in layer.weights
    }


def settle(network: keras.Model) -> None:
    """Draws what normalisations hold anew, so that none is the identity; kernels stay."""
    rng = np.random.default_rng(2)
    for layer in network.layers:
        for variable in layer.weights:
            if variable.name in ("gamma", "moving_variance"):
                variable.assign(rng.uniform(0.5, 1.5, size=tuple(variable.shape)))
            elif variable.name != "kernel":
                variable.assign(rng.normal(scale=0.3, size=tuple(variable.shape)))


def maps_at(network: keras.Model, names: list[str], x: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of layers, from one compiled pass."""
    reached = keras.Model(network.inputs, {name: network.get_layer(name).output for name in names})
    reached.compile(**COMPILED)
    return reached.predict(x, verbose=0)


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Raises an error unless the two agree to float32."""
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=atol)


def check_round_trip(network: keras.Model, folder: Any) -> None:
    """A saved network gives back its configuration, names, and every bit of its weights."""
    network.save(folder / "network.keras")
    loaded = keras.saving.load_model(folder / "network.keras")
    assert type(loaded) is type(network)
    # A file has lists for tuples.
    assert json.dumps(loaded.get_config()) == json.dumps(network.get_config())
    assert list(loaded.output) == list(network.output)
    before = [(v.path, keras.ops.convert_to_numpy(v)) for v in network.weights]
    after = [(v.path, keras.ops.convert_to_numpy(v)) for v in loaded.weights]
    assert [path for path, _ in before] == [path for path, _ in after]
    for (path, value), (_, other) in zip(before, after):
        np.testing.assert_array_equal(value, other, err_msg=path)


def check_fit(network: keras.Model) -> None:
    """One compiled step with a loss at every output is finite and moves every kernel."""
    x = images()
    targets = {
        name: np.random.default_rng(3).normal(size=(*x.shape[:3], output.shape[-1]))
        for name, output in network.output.items()
    }
    before = weights_by_layer(network)
    losses = dict.fromkeys(targets, "mean_squared_error")
    network.compile(keras.optimizers.SGD(0.05), losses, **COMPILED)
    history = network.fit(x, targets, batch_size=len(x), verbose=0).history
    assert np.isfinite(history["loss"][0])
    after = weights_by_layer(network)
    still = [
        name
        for name in before
        if name.endswith("kernel") and np.array_equal(before[name], after[name])
    ]
    assert not still, still
