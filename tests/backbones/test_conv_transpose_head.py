"""`ConvTransposeHead` against NumPy, and against Keras's transposed convolution."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ConvTransposeHead
from tests.harness import randomize


def doubled(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A transposed convolution of kernel 2 and stride 2, position by position."""
    batch, height, width, _ = x.shape
    found = np.zeros((batch, 2 * height, 2 * width, kernel.shape[-1]))
    for row in range(2):
        for column in range(2):
            found[:, row::2, column::2] = x @ kernel[row, column]
    return found + bias


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return bias + sum(
        padded[:, row : row + height, column : column + width] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )


def test_blocks_are_transposed_convolutions_and_convolutions() -> None:
    head = ConvTransposeHead(3, features=5, filters=2, blocks=2)
    randomize(head)
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 5))
    values = {v.path.split("/", 1)[1]: ops.convert_to_numpy(v) for v in head.weights}
    wanted = x
    for number in (1, 2):
        kernel, bias = (values[f"transposed{number}/{kind}"] for kind in ("kernel", "bias"))
        kernel = kernel[0, 0].reshape(-1, 2, 2, 2).transpose(1, 2, 0, 3)
        bias = np.tile(bias.reshape(2, 2, 2), (wanted.shape[1], wanted.shape[2], 1))
        wanted = np.maximum(doubled(wanted, kernel, bias), 0)
        kernel, bias = (values[f"convolution{number}/{kind}"] for kind in ("kernel", "bias"))
        wanted = np.maximum(convolved(wanted, kernel, bias), 0)
    wanted = wanted @ values["output/kernel"][0, 0] + values["output/bias"]
    found = ops.convert_to_numpy(head(x.astype("float32")))
    assert found.shape == (2, 8, 12, 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_it_is_saved_and_sizes_are_checked() -> None:
    head = ConvTransposeHead(1, features=3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert again.get_config() == head.get_config()
    again.set_weights(head.get_weights())
    x = np.ones((1, 1, 2, 3), "float32")
    np.testing.assert_array_equal(*(ops.convert_to_numpy(h(x)) for h in (head, again)))
    with pytest.raises(ValueError, match="`filters` must be a positive"):
        ConvTransposeHead(1, features=3, filters=0)
