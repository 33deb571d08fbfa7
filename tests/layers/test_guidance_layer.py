"""`GuidanceLayer` against a matrix product and normalisation in NumPy."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import GuidanceLayer
from tests import oracles
from tests.harness import Weights, check_layer

RNG = np.random.default_rng(0)


def normalised(x: np.ndarray, w: Weights) -> np.ndarray:
    """he2022 eq. 4 at inference."""
    moments = w["normalization/moving_mean"], w["normalization/moving_variance"]
    return oracles.normalization(
        x @ w["kernel"], w["normalization/gamma"], w["normalization/beta"], moments
    )


def plain(x: np.ndarray, w: Weights) -> np.ndarray:
    return x @ w["kernel"] + w["bias"]


@pytest.mark.parametrize(
    ("oracle", "shape"), [(normalised, (2, 3, 2, 4)), (normalised, (5, 4)), (plain, (2, 3, 2, 4))]
)
def test_owes_what_every_layer_owes(
    oracle: object, shape: tuple[int, ...], tmp_path: pathlib.Path
) -> None:
    layer = GuidanceLayer(3, normalize=oracle is normalised, name="layer")
    check_layer(layer, RNG.normal(size=shape), oracle, tmp_path)


def test_outputs_of_a_training_batch_are_normalised() -> None:
    layer = GuidanceLayer(3)
    y = ops.convert_to_numpy(layer(RNG.normal(size=(6, 4, 4, 5)).astype("float32"), training=True))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1.0, rtol=1e-3)


def test_is_a_matrix_and_a_scale_and_shift() -> None:
    layer = GuidanceLayer(7)
    layer.build((None, None, None, 5))
    assert sum(int(np.prod(v.shape)) for v in layer.trainable_variables) == 5 * 7 + 2 * 7


@pytest.mark.parametrize("filters", [0, 2.5])
def test_filters_must_be_a_positive_number(filters: object) -> None:
    with pytest.raises(ValueError, match=f"filters={filters}"):
        GuidanceLayer(filters)
