"""The vote of the nearest against the released code's numbers and a search by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.few_shot import NearestNeighbours
from tests.few_shot.oracles import episodes, unit
from tests.golden_inputs import golden_x, golden_y


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_nearest_of_the_golden_inputs_is_the_golden_one(metric: str) -> None:
    classifier = NearestNeighbours(1, metric).fit(golden_x(6), [0, 1, 1, 2, 2, 2])
    assert classifier.predict(golden_y(6)).tolist() == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 3, 12])
def test_probabilities_are_the_shares_of_the_nearest(metric: str, k: int) -> None:
    support, labels, queries, _ = episodes()
    actual = NearestNeighbours(k, metric).fit(support, labels).predict_proba(queries)
    for index in range(len(support)):
        a, b = queries[index], support[index]
        if metric == "cosine":
            a, b = unit(a), unit(b)
        for row, query in enumerate(a):
            nearest = np.argsort(np.linalg.norm(b - query, axis=1))[:k]
            share = np.bincount(labels[index][nearest], minlength=3) / k
            np.testing.assert_allclose(actual[index, row], share, atol=1e-6)


def test_a_tie_goes_to_the_first_class() -> None:
    classifier = NearestNeighbours(2, "euclidean").fit(np.array([[0.0], [1.0], [9.0]]), [5, 3, 3])
    assert classifier.predict(np.array([[0.1]])).tolist() == [3]


def test_more_neighbours_than_samples_and_unknown_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: 3 samples, k=4"):
        NearestNeighbours(4).fit(np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="`metric` must be one of"):
        NearestNeighbours(1, "dot")
    with pytest.raises(ValueError, match="`k` must be 1 or more"):
        NearestNeighbours(0)
