"""Means and covariances of classes, against explicit inverses; padding and absent classes."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.few_shot import SimpleCNAPS
from keras_univrep.layers.class_gaussians import class_gaussians, mahalanobis_scores

RNG = np.random.default_rng(0)
LABELS = np.array([[0, 2, 0, 1, 1, 0, 2], [1, 1, 0, 2, 1, 1, 1]])
X = RNG.normal(size=(2, 7, 4)).astype("float32")
QUERIES = RNG.normal(size=(2, 3, 4)).astype("float32")


def members(labels: np.ndarray, way: int) -> np.ndarray:
    return (labels[..., None] == np.arange(way)).astype("float32")


def scores(x: np.ndarray, labels: np.ndarray, way: int, released: bool = False) -> np.ndarray:
    gaussians = class_gaussians(
        ops.convert_to_tensor(x), ops.convert_to_tensor(members(labels, way)), released
    )
    return ops.convert_to_numpy(mahalanobis_scores(ops.convert_to_tensor(QUERIES), *gaussians))


def test_scores_are_distances_by_explicit_inverses() -> None:
    actual = scores(X, LABELS, 3)
    for episode, (x, labels) in enumerate(zip(X.astype("float64"), LABELS)):
        for label in range(3):
            own = x[labels == label]
            share = len(own) / (len(own) + 1)
            spread = np.cov(own.T) if len(own) > 1 else np.zeros((4, 4))
            inverse = np.linalg.inv(share * spread + (1 - share) * np.cov(x.T) + np.eye(4))
            d = QUERIES[episode] - own.mean(axis=0)
            expected = -np.einsum("qi,ij,qj->q", d, inverse, d)
            np.testing.assert_allclose(actual[episode, :, label], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("one_shot", ["fixed", "released"])
def test_scores_are_those_of_the_estimator(one_shot: str) -> None:
    expected = SimpleCNAPS(one_shot).fit(X, LABELS).scores(QUERIES)
    np.testing.assert_allclose(
        scores(X, LABELS, 3, one_shot == "released"), expected, rtol=1e-4, atol=1e-5
    )


def test_padding_does_not_count_and_absent_classes_stay_finite() -> None:
    padding = np.full((2, 2, 4), 50.0, "float32")
    padded = scores(
        np.concatenate([X, padding], axis=1),
        np.pad(LABELS, [(0, 0), (0, 2)], constant_values=-1),
        5,
    )
    np.testing.assert_allclose(padded[..., :3], scores(X, LABELS, 3), rtol=1e-4, atol=1e-5)
    assert np.isfinite(padded).all()
