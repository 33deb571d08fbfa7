"""Refined class means against a soft k-means written out, and their use of the queries."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.few_shot import PreClassifierAlignment, TransductiveAlignment
from tests.few_shot.oracles import centroids, episodes, unit


def soft_k_means(x: np.ndarray, labels: np.ndarray, queries: np.ndarray, times: int) -> np.ndarray:
    means = centroids(x, labels)
    for _ in range(times):
        odds = np.exp(10.0 * unit(queries) @ unit(means).T)
        odds /= odds.sum(axis=1, keepdims=True)
        means = np.stack(
            [
                (x[labels == j].sum(axis=0) + odds[:, j] @ queries)
                / ((labels == j).sum() + odds[:, j].sum())
                for j in range(len(means))
            ]
        )
    return 10.0 * unit(queries) @ unit(means).T


def test_scores_are_those_of_soft_k_means_on_aligned_features() -> None:
    support, labels, queries, _ = episodes()
    classifier = TransductiveAlignment(PreClassifierAlignment(steps=3), 2).fit(support, labels)
    scores = classifier.scores(queries)
    theta = classifier.alignment.theta_.astype("float64")
    for index in range(3):
        z, q = (part[index] @ theta[index].T for part in (support, queries))
        expected = soft_k_means(z, labels[index], q, 2)
        assert np.abs(expected - soft_k_means(z, labels[index], q, 1)).max() > 1e-3
        np.testing.assert_allclose(scores[index], expected, atol=1e-4)


def test_without_refinement_it_is_the_alignment() -> None:
    support, labels, queries, _ = episodes()
    expected = PreClassifierAlignment(steps=3).fit(support, labels).scores(queries)
    actual = TransductiveAlignment(PreClassifierAlignment(steps=3), 0).fit(support, labels)
    np.testing.assert_allclose(actual.scores(queries), expected, atol=1e-5)


def test_queries_of_a_call_are_used_jointly_and_not_kept() -> None:
    support, labels, queries, _ = episodes()
    classifier = TransductiveAlignment(PreClassifierAlignment(steps=0)).fit(support, labels)
    together = classifier.scores(queries)
    fewer = classifier.scores(queries[:, :2])
    assert np.abs(together[:, :2] - fewer).max() > 1e-3
    np.testing.assert_array_equal(classifier.scores(queries), together)
    np.testing.assert_allclose(classifier.scores(queries[:, ::-1]), together[:, ::-1], atol=1e-4)


def test_queries_help_where_one_shot_is_off_centre() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    labels = np.tile([0, 1], 30)
    queries = centres[labels] + 0.2 * rng.normal(size=(60, 3))
    support = np.array([[1.0, 0.7, 0.0], [0.2, 1.0, 1.5]])
    before = PreClassifierAlignment(steps=0).fit(support, [0, 1]).predict(queries)
    after = TransductiveAlignment(PreClassifierAlignment(steps=0)).fit(support, [0, 1])
    assert (after.predict(queries) == labels).mean() > (before == labels).mean()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="must be a `PreClassifierAlignment`.*Received"):
        TransductiveAlignment("unseen")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`refinements` must be 0 or more"):
        TransductiveAlignment(refinements=-1)
