"""`DenseHead`: two convolutions with nothing between, and directions of length 1."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.backbones import DenseHead
from tests.harness import Weights, check_layer
from tests.oracles import convolution

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("normalize", [False, True])
def test_owes_what_every_layer_owes(normalize: bool, tmp_path: pathlib.Path) -> None:
    def oracle(x: np.ndarray, w: Weights) -> np.ndarray:
        x = convolution(x, w["convolution/kernel"], padding="same") + w["convolution/bias"]
        x = x @ w["projection/kernel"][0, 0] + w["projection/bias"]
        return x / np.linalg.norm(x, axis=-1, keepdims=True) if normalize else x

    layer = DenseHead(3, filters=5, normalize=normalize, name="layer")
    check_layer(layer, RNG.normal(size=(2, 4, 3, 6)), oracle, tmp_path)


def test_starts_with_the_variance_of_xavier() -> None:
    head = DenseHead(64)
    head.build((None, None, None, 64))
    kernel = ops.convert_to_numpy(head.convolution.kernel)
    assert kernel.var() == pytest.approx(2 / (9 * 128), rel=0.05)
    # Untruncated: Keras's own ends at two deviations.
    assert np.abs(kernel).max() > 3 * kernel.std()
    assert not np.any(ops.convert_to_numpy(head.convolution.bias))


def test_a_vector_of_zeros_stays_one_and_has_a_finite_gradient() -> None:
    head = DenseHead(3, filters=4, normalize=True)
    head.build((None, None, None, 2))
    x = ops.zeros((1, 2, 2, 2))
    np.testing.assert_array_equal(ops.convert_to_numpy(head(x)), 0.0)
    _, (gradient,) = backend.value_and_grad(lambda v: (ops.sum(head(v[0])), ()), [x])
    assert np.all(np.isfinite(ops.convert_to_numpy(gradient)))


def test_directions_are_of_length_one_under_half_precision_too() -> None:
    head = DenseHead(3, filters=4, normalize=True, dtype="mixed_bfloat16")
    x = RNG.normal(size=(2, 4, 4, 5)).astype("float32")
    outputs = head(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    lengths = np.linalg.norm(ops.convert_to_numpy(outputs), axis=-1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)


@pytest.mark.parametrize("options", [{"channels": 0}, {"channels": 1, "filters": 0}])
def test_bad_arguments_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="at least 1. Received: "):
        DenseHead(**options)
