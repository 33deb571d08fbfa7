"""Average pooling is the mean of each window, and its gradient is spread evenly."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend


@pytest.mark.parametrize(("height", "width", "size"), [(8, 6, 2), (7, 9, 2), (9, 9, 3)])
def test_each_value_is_the_mean_of_its_window(height, width, size):
    x = np.random.default_rng(0).normal(size=(2, height, width, 5)).astype("float32")
    rows, columns = height // size, width // size
    windows = x[:, : rows * size, : columns * size].reshape(2, rows, size, columns, size, 5)
    pooled = ops.convert_to_numpy(backend.average_pool(x, size))
    np.testing.assert_allclose(pooled, windows.mean(axis=(2, 4)), atol=1e-6)


def test_gradient_is_spread_over_the_window():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    weights = np.random.default_rng(1).normal(size=(2, 2, 2, 3)).astype("float32")
    factors = ops.convert_to_tensor(weights)
    _, (gradient,) = backend.value_and_grad(
        lambda values: (ops.sum(factors * backend.average_pool(values[0], 2)), ()),
        [ops.convert_to_tensor(x)],
    )
    expected = np.zeros_like(x)
    expected[:, :4, :4] = weights.repeat(2, axis=1).repeat(2, axis=2) / 4
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), expected, atol=1e-6)


def test_it_does_not_ask_the_global_data_format():
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        pooled = backend.average_pool(x, 2)
    finally:
        keras.config.set_image_data_format(before)
    assert tuple(pooled.shape) == (1, 2, 2, 1)
