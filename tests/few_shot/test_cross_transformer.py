"""Query-aligned prototypes against loops over places, and what they do not see."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.few_shot import CrossTransformer


def maps(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two episodes: six support maps of two classes, unbalanced; labels; three queries."""
    rng = np.random.default_rng(seed)
    labels = np.array([[0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 1]])
    return rng.normal(size=(2, 6, 2, 3, 4)), labels, rng.normal(size=(2, 3, 3, 2, 4))


def oracle(
    x: np.ndarray, labels: np.ndarray, query: np.ndarray, k: np.ndarray, v: np.ndarray, tau: float
) -> list[float]:
    scores = []
    for label in np.unique(labels):
        places = x[labels == label].reshape(-1, x.shape[-1])
        distances = []
        for place in query.reshape(-1, x.shape[-1]):
            odds = np.exp((places @ k) @ (place @ k) / tau)
            aligned = (odds / odds.sum()) @ (places @ v)
            distances.append(np.sum((aligned - place @ v) ** 2))
        scores.append(-np.mean(distances))
    return scores


@pytest.mark.parametrize("mapped, tau", [(False, None), (True, None), (True, 0.3)])
def test_scores_are_those_of_loops_over_places(mapped: bool, tau: float | None) -> None:
    support, labels, queries = maps()
    rng = np.random.default_rng(1)
    k, v = (rng.normal(size=(4, n)) if mapped else np.eye(4) for n in (3, 2))
    arguments = {"key": k, "value": v} if mapped else {}
    classifier = CrossTransformer(temperature=tau, query_batch_size=2, **arguments)
    scores = classifier.fit(support, labels).scores(queries)
    root = k.shape[1] ** 0.5 if tau is None else tau
    for e in range(2):
        expected = [oracle(support[e], labels[e], query, k, v, root) for query in queries[e]]
        np.testing.assert_allclose(scores[e], expected, rtol=1e-4, atol=1e-5)


def test_where_things_are_does_not_matter_but_what_they_are_does() -> None:
    support, labels, queries = maps()
    classifier = CrossTransformer().fit(support, labels)
    scores = classifier.scores(queries)
    flipped = CrossTransformer().fit(support[:, :, ::-1], labels).scores(queries)
    np.testing.assert_allclose(flipped, scores, atol=1e-5)
    np.testing.assert_allclose(classifier.scores(queries[:, :, :, ::-1]), scores, atol=1e-5)
    assert np.abs(classifier.scores(queries + 0.5) - scores).max() > 1e-2


def test_a_cold_query_finds_itself() -> None:
    support, labels, _ = maps()
    classifier = CrossTransformer(temperature=1e-2)
    # Unit vectors: the most alike is the place itself.
    support /= np.linalg.norm(support, axis=-1, keepdims=True)
    scores = classifier.fit(support[0], labels[0]).scores(support[0])
    np.testing.assert_array_equal(scores.argmax(axis=-1), labels[0])
    assert np.abs(scores.max(axis=-1)).max() < 0.05


def test_bad_input_is_refused() -> None:
    support, labels, queries = maps()
    with pytest.raises(ValueError, match="height, width, channels"):
        CrossTransformer().fit(support[0, 0], labels[0])
    with pytest.raises(ValueError, match="a row for each channel.*Received"):
        CrossTransformer(key=np.eye(3)).fit(support, labels)
    with pytest.raises(ValueError, match=r"`value` must be of shape \(channels, units\)"):
        CrossTransformer(value=np.ones(3))
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        CrossTransformer(temperature=0.0)
    classifier = CrossTransformer().fit(support, labels)
    with pytest.raises(ValueError, match="channels of the support set"):
        classifier.predict(queries[..., :2])
