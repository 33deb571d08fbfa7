"""Sums and concatenations of unit features, against sums over cosines."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.evaluation import combine_features

RNG = np.random.default_rng(0)
FEATURES = {"a": RNG.normal(size=(6, 4)), "b": 100.0 * RNG.normal(size=(6, 4))}


def cosines(x: np.ndarray) -> np.ndarray:
    unit = np.array([row / np.sqrt(np.sum(row**2)) for row in x])
    return unit @ unit.T


def test_cosine_of_concatenations_is_the_mean_of_the_cosines() -> None:
    joint = combine_features(FEATURES, "concatenate")
    assert joint.shape == (6, 8) and joint.dtype == np.float32
    mean = (cosines(FEATURES["a"]) + cosines(FEATURES["b"])) / 2
    np.testing.assert_allclose(cosines(joint), mean, atol=1e-6)


def test_no_network_outweighs_another_in_the_sum() -> None:
    total = combine_features(FEATURES, "sum")
    for i, row in enumerate(total):
        expected = sum(x[i] / np.linalg.norm(x[i]) for x in FEATURES.values())
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_tensors_lists_and_zeros_are_taken() -> None:
    tensors = [ops.convert_to_tensor(x, dtype="float32") for x in FEATURES.values()]
    np.testing.assert_allclose(
        combine_features(tensors, "sum"), combine_features(FEATURES, "sum"), atol=1e-6
    )
    assert not combine_features([np.zeros((2, 3))], "concatenate").any()


def test_channels_may_differ_in_a_concatenation_alone() -> None:
    unequal = [np.ones((2, 3)), np.ones((2, 5))]
    assert combine_features(unequal, "concatenate").shape == (2, 8)
    with pytest.raises(ValueError, match=r"shapes \[\(2, 3\), \(2, 5\)\]"):
        combine_features(unequal, "sum")


def test_unknown_ways_and_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="how='mean'"):
        combine_features(FEATURES, "mean")
    with pytest.raises(ValueError, match="of the same samples"):
        combine_features([np.ones((2, 3)), np.ones((3, 3))], "concatenate")
    with pytest.raises(ValueError, match="of the same samples"):
        combine_features([], "sum")
