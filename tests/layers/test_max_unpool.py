"""`MaxUnpool`: each value where its maximum was, zeros elsewhere, and the gradient from there."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import MaxPoolWithIndices, MaxUnpool
from tests.harness import check_config

RNG = np.random.default_rng(0)
# A graph and XLA; XLA; what PyTorch does by default.
COMPILES = {"tensorflow": [False, True], "jax": [True], "torch": [False]}


def some_indices(batch: int, height: int, width: int, channels: int) -> np.ndarray:
    """A pixel of each window, drawn evenly."""
    shape = (batch, height, width, channels)
    row, column = RNG.integers(0, 2, shape), RNG.integers(0, 2, shape)
    _, rows, columns, _ = np.ogrid[:batch, :height, :width, :channels]
    return (2 * rows + row) * 2 * width + 2 * columns + column


def unpooled(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    batch, height, width, channels = x.shape
    outputs = np.zeros((batch, 4 * height * width, channels))
    for b, row, column, channel in np.ndindex(*x.shape):
        outputs[b, indices[b, row, column, channel], channel] = x[b, row, column, channel]
    return outputs.reshape(batch, 2 * height, 2 * width, channels)


@pytest.mark.parametrize("size", [(4, 3), (1, 1), (1, 5)])
def test_puts_each_value_at_its_index(size: tuple[int, int]) -> None:
    indices = some_indices(2, *size, 5)
    x = RNG.normal(size=indices.shape).astype("float32")
    outputs = MaxUnpool()(x, indices.astype("int32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), unpooled(x, indices))


def test_the_gradient_is_what_lies_at_the_index() -> None:
    indices = some_indices(2, 3, 4, 3)
    x = RNG.normal(size=indices.shape).astype("float32")
    factors = RNG.normal(size=(2, 6, 8, 3)).astype("float32")
    layer, weights = MaxUnpool(), ops.convert_to_tensor(factors)
    places = ops.convert_to_tensor(indices.astype("int32"))
    _, (gradient,) = backend.value_and_grad(
        lambda values: (ops.sum(weights * layer(values[0], places)), ()),
        [ops.convert_to_tensor(x)],
    )
    expected = np.take_along_axis(factors.reshape(2, -1, 3), indices.reshape(2, -1, 3), axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), expected.reshape(x.shape), rtol=1e-6)


def test_undefined_values_stay_in_their_pixel() -> None:
    indices = some_indices(1, 2, 2, 1)
    x = np.array([np.nan, np.inf, 1.0, -np.inf], "float32").reshape(1, 2, 2, 1)
    outputs = ops.convert_to_numpy(MaxUnpool()(x, indices.astype("int32")))
    np.testing.assert_array_equal(outputs, unpooled(x, indices))


def test_pooling_undoes_it(tmp_path: pathlib.Path) -> None:
    images = keras.Input((8, 4, 2))
    maxima, indices = MaxPoolWithIndices(name="pool")(images)
    again, same = MaxPoolWithIndices(name="again")(MaxUnpool(name="unpool")(maxima, indices))
    model = keras.Model(images, [maxima, indices, again, same])
    x = RNG.uniform(1.0, 2.0, size=(3, 8, 4, 2)).astype("float32")
    outputs = model.predict(x, verbose=0)
    np.testing.assert_array_equal(outputs[0], outputs[2])
    np.testing.assert_array_equal(outputs[1], outputs[3])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0)[2], outputs[2])


@pytest.mark.parametrize("jit_compile", COMPILES[keras.backend.backend()])
def test_trains_in_a_compiled_step(jit_compile: bool) -> None:
    images = keras.Input((4, 4, 2))
    maxima, indices = MaxPoolWithIndices()(keras.layers.Conv2D(2, 1, name="before")(images))
    outputs = MaxUnpool()(keras.layers.Conv2D(2, 1, name="between")(maxima), indices)
    model = keras.Model(images, outputs)
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit_compile)
    before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    x = RNG.normal(size=(4, 4, 4, 2)).astype("float32")
    losses = model.fit(x, x, epochs=3, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, variable in zip(before, model.trainable_variables):
        assert not np.array_equal(old, ops.convert_to_numpy(variable)), variable.path


def test_configuration_is_complete() -> None:
    check_config(MaxUnpool(name="unpool", dtype="mixed_bfloat16"))


@pytest.mark.parametrize("shape", [(1, 2, 3, 2), (1, 2, 2, 3), (2, 2, 2)])
def test_indices_of_another_map_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must both have .* shapes \(1, 2, 2, 2\)"):
        MaxUnpool()(np.zeros((1, 2, 2, 2), "float32"), np.zeros(shape, "int32"))
