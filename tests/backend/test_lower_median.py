"""`lower_median` against a NumPy sort."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend


def oracle(x: np.ndarray, mask: np.ndarray | None = None) -> np.float32:
    counted = np.sort(np.asarray(x, "float32") if mask is None else np.asarray(x, "float32")[mask])
    return counted[(counted.size - 1) // 2] if counted.size else np.float32(0)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 101])
def test_equals_the_sorted_middle_entry_exactly(count: int, scale: float) -> None:
    x = (np.random.default_rng(count).random(count) * scale).astype("float32")
    result = backend.lower_median(x)
    assert tuple(result.shape) == ()
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    assert ops.convert_to_numpy(result) == oracle(x)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_counts_only_what_the_mask_keeps(share: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((7, 9)).astype("float32")
    mask = rng.random((7, 9)) < share
    assert ops.convert_to_numpy(backend.lower_median(x, mask)) == oracle(x, mask)


def test_mask_broadcasts_to_the_values() -> None:
    x = np.arange(12, dtype="float32").reshape(3, 4)
    row = np.array([True, False, False, True])
    expected = oracle(x, np.broadcast_to(row, x.shape))
    assert ops.convert_to_numpy(backend.lower_median(x, row)) == expected


def test_takes_ties_zeros_and_infinities() -> None:
    assert float(backend.lower_median([0.0, 0.0, 5.0, 5.0])) == 0.0
    assert float(backend.lower_median([5.0, 5.0, 5.0, 0.0])) == 5.0
    assert float(backend.lower_median([1.0, np.inf, np.inf])) == np.inf


def test_is_zero_when_nothing_counts() -> None:
    assert float(backend.lower_median([3.0, 4.0], mask=[False, False])) == 0.0


def test_takes_low_precision_in_float32() -> None:
    x = ops.cast([4.0, 1.0, 3.0], "bfloat16")
    result = backend.lower_median(x)
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    assert float(result) == 3.0


def test_passes_no_gradient() -> None:
    variable = keras.Variable([1.0, 2.0, 4.0])
    _, _, (grad,) = backend.gradients(
        lambda: (ops.sum(variable.value) * backend.lower_median(variable.value), ()), [variable]
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(grad), [2.0, 2.0, 2.0])


def test_compiles_with_a_mask_that_depends_on_the_data() -> None:
    class Median(keras.layers.Layer):
        def call(self, inputs: object) -> object:
            median = backend.lower_median(inputs, inputs > 0.5)
            return ops.broadcast_to(median, (ops.shape(inputs)[0], 1))

        def compute_output_shape(self, input_shape: tuple) -> tuple:
            return (input_shape[0], 1)

    x = np.random.default_rng(0).random((6, 5)).astype("float32")
    model = keras.Sequential([Median()])
    predicted = model.predict(x, batch_size=6, verbose=0)
    np.testing.assert_array_equal(predicted, np.full((6, 1), oracle(x, x > 0.5)))
