"""The nearest centroid against the released code's numbers and its invariances."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.few_shot import NearestCentroid
from tests.few_shot.oracles import centroids, cross_entropy, episodes, unit
from tests.golden_inputs import golden_x, golden_y

LABELS, QUERY_LABELS = np.array([0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    "similarity, expected",
    [("cosine", 3.610919014), ("euclidean", 1.654330508), ("dot", 1.173769980)],
)
def test_losses_and_predictions_are_the_golden_ones(similarity: str, expected: float) -> None:
    classifier = NearestCentroid(similarity).fit(golden_x(6), LABELS)
    loss = cross_entropy(classifier.scores(golden_y(6)), QUERY_LABELS)
    assert loss == pytest.approx(expected, abs=2e-6)
    assert classifier.predict(golden_y(6)).tolist() == [0, 1, 1, 1, 1, 2]


def test_scores_are_the_oracles() -> None:
    support, labels, queries, _ = episodes()
    for index in range(len(support)):
        c, q = centroids(support[index], labels[index]), queries[index]
        correlations = np.corrcoef(q, c)[: len(q), len(q) :]
        expected = {
            "cosine": 10 * unit(q) @ unit(c).T,
            "euclidean": -np.sum((q[:, None] - c) ** 2, axis=-1),
            "dot": q @ c.T,
            "correlation": 10 * correlations,
        }
        for similarity, values in expected.items():
            scores = NearestCentroid(similarity).fit(support, labels).scores(queries)[index]
            np.testing.assert_allclose(scores, values, rtol=1e-4, atol=1e-5)


def test_cosines_do_not_see_the_scale_of_features_nor_correlations_their_offset() -> None:
    support, labels, queries, _ = episodes()
    for similarity, offset in (("cosine", 0.0), ("correlation", 0.5)):
        expected = NearestCentroid(similarity).fit(support, labels).scores(queries)
        for scale in (1e-12, 1e12):
            classifier = NearestCentroid(similarity).fit(scale * support, labels)
            actual = classifier.scores(1e3 * queries + offset)
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_distances_survive_a_far_away_origin() -> None:
    support, labels, queries, _ = episodes()
    expected = NearestCentroid("euclidean").fit(support, labels).scores(queries)
    far = NearestCentroid("euclidean").fit(support + 1000.0, labels).scores(queries + 1000.0)
    np.testing.assert_allclose(far, expected, rtol=1e-2, atol=1e-2)


def test_the_scale_multiplies_the_similarity() -> None:
    support, labels, queries, _ = episodes()
    ten = NearestCentroid().fit(support, labels).scores(queries)
    three = NearestCentroid(scale=3.0).fit(support, labels).scores(queries)
    np.testing.assert_allclose(three, 0.3 * ten, rtol=1e-5)


def test_a_zero_vector_has_cosine_zero() -> None:
    classifier = NearestCentroid().fit(np.eye(3), [0, 1, 2])
    np.testing.assert_array_equal(classifier.scores(np.zeros((1, 3))), 0.0)


def test_unknown_similarities_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="`similarity` must be one of .*Received.*'cos'"):
        NearestCentroid("cos")
    with pytest.raises(ValueError, match="`scale` must be positive"):
        NearestCentroid(scale=-1.0)
    with pytest.raises(TypeError, match="`scale` must be a number"):
        NearestCentroid(scale="10")  # type: ignore[arg-type]
