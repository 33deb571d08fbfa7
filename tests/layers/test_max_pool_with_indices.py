"""`MaxPoolWithIndices`: the first maximum of each window, its position, and its gradient alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import MaxPoolWithIndices, MaxUnpool
from tests.harness import check_config

RNG = np.random.default_rng(0)


def pooled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and the position of the first one in each window, in reading order."""
    batch, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    maxima = np.zeros((batch, rows, columns, channels), x.dtype)
    indices = np.zeros(maxima.shape, int)
    for b, row, column, channel in np.ndindex(*maxima.shape):
        window = [(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
        values = [x[b, i, j, channel] for i, j in window]
        best = values.index(max(values))
        maxima[b, row, column, channel] = values[best]
        indices[b, row, column, channel] = window[best][0] * 2 * columns + window[best][1]
    return maxima, indices


def with_ties(*shape: int) -> np.ndarray:
    """Images of three values only, as after a ReLU most windows have none or several maxima."""
    return RNG.integers(0, 3, size=shape).astype("float32")


@pytest.mark.parametrize("size", [(8, 6), (5, 7), (4, 3), (2, 2)])
def test_takes_the_first_maximum_of_each_window(size: tuple[int, int]) -> None:
    x = with_ties(2, *size, 5)
    maxima, indices = MaxPoolWithIndices()(x)
    expected, places = pooled(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(maxima), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), places)


@pytest.mark.parametrize("size", [(6, 4), (5, 7)])
def test_the_gradient_goes_to_one_pixel_at_ties_too(size: tuple[int, int]) -> None:
    x = with_ties(2, *size, 3)
    _, places = pooled(x)
    factors = RNG.normal(size=places.shape).astype("float32")
    layer, weights = MaxPoolWithIndices(), ops.convert_to_tensor(factors)
    _, (gradient,) = backend.value_and_grad(
        lambda values: (ops.sum(weights * layer(values[0])[0]), ()), [ops.convert_to_tensor(x)]
    )
    expected = np.zeros_like(x)
    width = 2 * (size[1] // 2)
    for b, row, column, channel in np.ndindex(*places.shape):
        place = places[b, row, column, channel]
        expected[b, place // width, place % width, channel] = factors[b, row, column, channel]
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), expected, rtol=1e-6)


def test_nothing_that_is_no_number_is_lost() -> None:
    x = with_ties(1, 4, 4, 1)
    x[0, 0, 1, 0] = x[0, 3, 2, 0] = np.nan
    x[0, 0, 2, 0] = np.inf
    x[0, 2:, :2, 0] = -np.inf
    maxima, indices = MaxPoolWithIndices()(x)
    maxima = ops.convert_to_numpy(maxima)[0, :, :, 0]
    np.testing.assert_array_equal(maxima, [[np.nan, np.inf], [-np.inf, np.nan]])
    indices = ops.convert_to_numpy(indices)[0, :, :, 0]
    np.testing.assert_array_equal(indices, [[1, 2], [8, 14]])


def test_an_infinite_neighbour_gives_no_undefined_gradient() -> None:
    x = np.array([[np.inf, 1.0], [-np.inf, 2.0]], "float32").reshape(1, 2, 2, 1)
    layer = MaxPoolWithIndices()
    _, (gradient,) = backend.value_and_grad(
        lambda values: (ops.sum(layer(values[0])[0]), ()), [ops.convert_to_tensor(x)]
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(gradient).ravel(), [1.0, 0.0, 0.0, 0.0])


def test_can_be_differentiated_twice() -> None:
    x = RNG.normal(size=(2, 4, 6, 2)).astype("float32")
    pool, unpool = MaxPoolWithIndices(), MaxUnpool()

    def slope(values: list) -> tuple:
        cube = lambda inner: (ops.sum(unpool(*pool(inner[0])) ** 3), ())  # noqa: E731
        return ops.sum(backend.value_and_grad(cube, values)[1][0] ** 2), ()

    (value, _), (gradient,) = backend.value_and_grad(slope, [ops.convert_to_tensor(x)])
    # The slope is 3 x^2 at the maxima, its square 9 x^4, and the slope of that 36 x^3.
    maxima, _ = pooled(x)
    kept = np.isin(x, maxima)
    assert float(value) == pytest.approx(9 * np.sum(maxima.astype(float) ** 4), rel=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), 36 * kept * x**3, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_as_it_is(dtype: str) -> None:
    x = with_ties(1, 4, 6, 2)
    maxima, indices = MaxPoolWithIndices(dtype=f"mixed_{dtype}")(x)
    outputs = MaxUnpool(dtype=f"mixed_{dtype}")(maxima, indices)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(maxima, "float32")), pooled(x)[0])


def test_sizes_may_be_known_at_the_call_alone() -> None:
    images = keras.Input((None, None, 2))
    maxima, indices = MaxPoolWithIndices()(images)
    assert maxima.shape == indices.shape == (None, None, None, 2)
    model = keras.Model(images, [maxima, indices, MaxUnpool()(maxima, indices)])
    assert model.output_shape[2] == (None, None, None, 2)
    for size in ((4, 6), (5, 8)):
        x = with_ties(3, *size, 2)
        outputs, places, unpooled = model.predict(x, verbose=0)
        np.testing.assert_array_equal(outputs, pooled(x)[0])
        np.testing.assert_array_equal(places, pooled(x)[1])
        assert unpooled.shape == (3, size[0] // 2 * 2, size[1], 2)


def test_configuration_is_complete() -> None:
    check_config(MaxPoolWithIndices(name="pool", dtype="mixed_bfloat16"))


@pytest.mark.parametrize("shape", [(1, 1, 4, 2), (4, 1, 1, 3), (4, 4, 3)])
def test_maps_without_a_window_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"from 2 on. Received: shape=\("):
        MaxPoolWithIndices()(np.zeros(shape, "float32"))
