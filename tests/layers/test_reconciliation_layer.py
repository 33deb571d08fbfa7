"""`ReconciliationLayer` against convolutions and normalisations in NumPy."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import ReconciliationLayer
from tests import oracles
from tests.harness import Weights, check_layer, check_values, randomize

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, 6, 3))


def unit(x: np.ndarray, w: Weights, name: str, stride: int = 1) -> np.ndarray:
    """A convolution, and its normalisation by moving statistics or its bias."""
    kernel = w[f"{name}/kernel"]
    y = oracles.convolution(x, kernel, stride=stride, padding=kernel.shape[0] // 2)
    if f"{name}/bias" in w:
        return y + w[f"{name}/bias"]
    n = {key: w[f"{name}_normalization/{key}"] for key in ("gamma", "beta")}
    moments = [w[f"{name}_normalization/moving_{key}"] for key in ("mean", "variance")]
    return oracles.normalization(y, n["gamma"], n["beta"], tuple(moments))


def same_layer(x: np.ndarray, w: Weights) -> np.ndarray:
    """gamma_b alone."""
    return unit(x, w, "gamma_b")


def deeper(x: np.ndarray, w: Weights) -> np.ndarray:
    """gamma_a, with strides 2 and 1, after gamma_b."""
    x = unit(np.maximum(unit(x, w, "gamma_b"), 0.0), w, "gamma_a1", stride=2)
    return unit(np.maximum(x, 0.0), w, "gamma_a2")


def shallower(x: np.ndarray, w: Weights) -> np.ndarray:
    """gamma_c, up by 2, after gamma_b."""
    x = np.maximum(unit(x, w, "gamma_b"), 0.0)
    return unit(x.repeat(2, axis=1).repeat(2, axis=2), w, "gamma_c1")


CASES: list[tuple[Any, dict[str, Any]]] = [
    (same_layer, {"filters": 4}),
    (deeper, {"filters": [4, 3, 2], "strides": [2, 1]}),
    (shallower, {"filters": [4, 2], "reverse": True}),
]


# The gradient by the inputs is the oracle's where it is not cut off.
@pytest.mark.parametrize(("oracle", "arguments"), CASES)
def test_owes_what_every_layer_owes(
    oracle: Any, arguments: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    layer = ReconciliationLayer(**arguments, detach=False, name="layer")
    check_layer(layer, X, oracle, tmp_path)


def test_without_normalisation_convolutions_have_a_bias() -> None:
    layer = ReconciliationLayer(
        [2, 3, 2], [2, 1], kernel_size=1, normalize=False, detach=False, name="layer"
    )
    layer.build(X.shape)
    randomize(layer)
    assert len(layer.weights) == 6
    check_values(layer, X, deeper, 1e-4)


def test_inputs_are_detached_and_weights_are_not() -> None:
    layer = ReconciliationLayer([4, 2], name="layer")
    layer.build(X.shape)
    randomize(layer)
    check_values(layer, X, lambda x, w: unit(
        np.maximum(unit(x, w, "gamma_b"), 0.0), w, "gamma_a1", stride=2
    ), 1e-4)  # fmt: skip
    outputs, _, pullback = backend.vjp(
        lambda x: (layer(x), None),
        layer.trainable_variables,
        [ops.convert_to_tensor(X.astype("float32"))],
    )
    by_weights, (by_inputs,) = pullback(ops.ones_like(outputs))
    np.testing.assert_array_equal(ops.convert_to_numpy(by_inputs), 0.0)
    assert all(np.abs(ops.convert_to_numpy(g)).max() > 0 for g in by_weights)


def test_kernels_start_as_xavier_draws_them() -> None:
    layer = ReconciliationLayer([40, 50])
    layer.build((None, 8, 8, 30))
    for convolution, fans in zip(layer.convolutions, (30 + 40, 9 * 40 + 9 * 50), strict=True):
        kernel = ops.convert_to_numpy(convolution.kernel)
        bound = np.sqrt(6.0 / fans)
        assert 0.95 * bound < np.abs(kernel).max() <= bound
        np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3.0), rtol=0.05)


def test_with_a_zero_scale_a_fresh_layer_adds_nothing() -> None:
    layer = ReconciliationLayer([4, 2], gamma_initializer="zeros")
    for training in (False, True):
        y = ops.convert_to_numpy(layer(X.astype("float32"), training=training))
        np.testing.assert_array_equal(y, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": []}, r"filters=\[\]"),
        ({"filters": [4, 0]}, r"filters=\[4, 0\]"),
        ({"filters": [4, 2], "strides": [2, 2]}, r"strides=\[2, 2\]"),
        ({"filters": 4, "kernel_size": 2}, "kernel_size=2"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReconciliationLayer(**arguments)


def test_constraints_of_kernels_are_kept_in_the_configuration() -> None:
    layer = ReconciliationLayer([4, 2], kernel_constraints=[keras.constraints.NonNeg(), None])
    again = ReconciliationLayer.from_config(layer.get_config())
    assert isinstance(again.convolutions[0].kernel_constraint, keras.constraints.NonNeg)
    assert again.convolutions[1].kernel_constraint is None
