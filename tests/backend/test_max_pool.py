"""`max_pool` against NumPy, with and without gradients."""

import numpy as np
import pytest
from keras import ops

from keras_univrep import backend

RNG = np.random.default_rng(0)


def oracle(x: np.ndarray, size: int) -> np.ndarray:
    """Maximum of each window, by a loop."""
    batch, height, width, channels = x.shape
    found = np.empty((batch, height // size, width // size, channels))
    for row in range(height // size):
        for column in range(width // size):
            window = x[:, row * size :, column * size :][:, :size, :size]
            found[:, row, column] = window.max((1, 2))
    return found


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 6, 8, 3), 2), ((2, 7, 9, 3), 2), ((1, 9, 6, 2), 3)]
)
def test_maxima_are_those_of_the_windows(shape: tuple[int, ...], size: int) -> None:
    x = RNG.normal(size=shape).astype("float32")
    found = ops.convert_to_numpy(backend.max_pool(x, size))
    np.testing.assert_array_equal(found, oracle(x, size).astype("float32"))


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (2, 7, 9, 3)])
def test_the_gradient_goes_to_the_largest(shape: tuple[int, ...]) -> None:
    x = RNG.permutation(np.prod(shape)).reshape(shape).astype("float32")
    weights = RNG.normal(size=oracle(x, 2).shape).astype("float32")
    (value, _), (grad,) = backend.value_and_grad(
        lambda values: (
            ops.sum(ops.convert_to_tensor(weights) * backend.max_pool(values[0], 2)),
            (),
        ),
        [ops.convert_to_tensor(x)],
    )
    np.testing.assert_allclose(float(value), (weights * oracle(x, 2)).sum(), rtol=1e-5)
    expected = np.zeros(shape)
    for place in np.ndindex(*weights.shape):
        batch, row, column, channel = place
        window = x[batch, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
        i, j = np.unravel_index(window.argmax(), (2, 2))
        expected[batch, 2 * row + i, 2 * column + j, channel] = weights[place]
    np.testing.assert_array_equal(ops.convert_to_numpy(grad), expected.astype("float32"))
