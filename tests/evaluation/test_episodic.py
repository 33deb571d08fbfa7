"""Accuracy over episodes against a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.evaluation import evaluate_episodes


class Parity:
    """Predicts the parity that it saw most of, and counts its fits."""

    fits = 0

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Parity:
        self.fits += 1
        self.answer = np.asarray(labels)[..., :1]
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.answer, np.asarray(features).shape[:-1])


QUERIES = np.zeros((4, 2))


def test_mean_and_interval_are_those_of_the_accuracies() -> None:
    episodes = [
        (QUERIES, [1, 0], QUERIES, np.array([1, 1, 1, 1])),
        (QUERIES, [1, 0], QUERIES, np.array([1, 0, 1, 0])),
        (QUERIES, [0, 1], QUERIES, np.array([1, 0, 1, 1])),
    ]
    estimator = Parity()
    mean, half_width = evaluate_episodes(estimator, iter(episodes))
    accuracies = np.array([100.0, 50.0, 25.0])
    assert estimator.fits == 3
    assert mean == pytest.approx(accuracies.mean())
    assert half_width == pytest.approx(1.96 * accuracies.std() / np.sqrt(3))


def test_batches_of_episodes_count_as_the_episodes() -> None:
    labels = np.random.default_rng(0).integers(0, 2, size=(5, 4))
    support_labels = np.tile([1, 0], (5, 1))
    queries = np.zeros((5, 4, 2))
    one = evaluate_episodes(
        Parity(), [(queries[i], support_labels[i], queries[i], labels[i]) for i in range(5)]
    )
    parts = [slice(0, 2), slice(2, 5)]
    tensors = [ops.convert_to_tensor(labels[part]) for part in parts]
    many = evaluate_episodes(
        Parity(),
        [(queries[p], support_labels[p], queries[p], y) for p, y in zip(parts, tensors)],
    )
    assert many == pytest.approx(one)


def test_lists_of_episodes_of_other_sizes_count_as_the_episodes() -> None:
    class Lists(Parity):
        def predict(self, features: list[np.ndarray]) -> list[np.ndarray]:
            pairs = zip(self.answers, features, strict=True)
            return [np.full(len(queries), answer) for answer, queries in pairs]

        def fit(self, features: list[np.ndarray], labels: list[list[int]]) -> Lists:
            self.answers = [own[0] for own in labels]
            return self

    episodes = [(QUERIES, [1, 0], QUERIES, [1, 0, 0, 1]), (QUERIES, [0], QUERIES[:2], [0, 1])]
    one = evaluate_episodes(Parity(), episodes)
    assert evaluate_episodes(Lists(), [tuple(zip(*episodes))]) == pytest.approx(one)
    with pytest.raises(ValueError, match=r"\(3,\) for predictions of shape \(4,\)"):
        evaluate_episodes(Lists(), [([QUERIES], [[1]], [QUERIES], [[1, 0, 1]])])


def test_no_episode_and_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        evaluate_episodes(Parity(), [])
    with pytest.raises(ValueError, match="one for each query.*Received"):
        evaluate_episodes(Parity(), [(QUERIES, [1, 0], QUERIES, [1, 0])])
