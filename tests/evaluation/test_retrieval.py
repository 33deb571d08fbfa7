"""Retrieval against a full sort, whatever the block."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.evaluation import recall_at_k


def by_sorting(features: np.ndarray, labels: np.ndarray, k: int, metric: str) -> float:
    if metric == "cosine":
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = 0
    for index, x in enumerate(features):
        distances = np.linalg.norm(features - x, axis=1)
        distances[index] = np.inf
        found += labels[index] in labels[np.argsort(distances)[:k]]
    return 100.0 * found / len(features)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_recall_is_that_of_a_full_sort(metric: str, block: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(40) % 9)
    features = rng.normal(size=(40, 6)) + np.eye(9, 6)[labels] + 5.0
    actual = recall_at_k(features, labels, (1, 2, 4, 8), metric, block)
    for k, value in actual.items():
        assert value == pytest.approx(by_sorting(features, labels, k, metric)), k
    assert actual[1] < actual[8]


def test_the_query_itself_is_no_neighbour_and_a_lonely_class_is_never_found() -> None:
    features, labels = np.array([[0.0], [0.1], [5.0]]), ["a", "a", "b"]
    assert recall_at_k(features, labels, (1, 2, 100), "euclidean") == {
        1: pytest.approx(200 / 3),
        2: pytest.approx(200 / 3),
        100: pytest.approx(200 / 3),
    }


def test_features_that_are_all_equal_get_nothing() -> None:
    labels = np.repeat(np.arange(5), 4)
    assert recall_at_k(np.ones((20, 3)), labels, (1, 8), block=6) == {1: 0.0, 8: 0.0}


def test_cosines_do_not_see_the_length_of_features() -> None:
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
    lengths = rng.uniform(0.1, 10.0, size=(30, 1))
    assert recall_at_k(features * lengths, labels) == recall_at_k(features, labels)


def test_bad_input_is_refused() -> None:
    x, y = np.eye(4), np.array([0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"labels of shape \(3,\)"):
        recall_at_k(x, y[:3])
    with pytest.raises(ValueError, match="must be finite"):
        recall_at_k(np.full((4, 2), np.nan), y)
    with pytest.raises(ValueError, match="`metric` must be one of"):
        recall_at_k(x, y, metric="dot")
    with pytest.raises(ValueError, match="`k` must hold positive integers"):
        recall_at_k(x, y, k=(0, 1))
    with pytest.raises(ValueError, match="`block` be one"):
        recall_at_k(x, y, block=0)
