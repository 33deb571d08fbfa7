"""`nil_accuracy` against a loop over queries."""

import numpy as np
import pytest

from keras_univrep.metrics import nil_accuracy

RNG = np.random.default_rng(0)


def test_a_query_takes_the_label_of_the_nearest_sample() -> None:
    support, queries = RNG.normal(size=(3, 6, 4)), RNG.normal(size=(3, 9, 4))
    labels, wanted = RNG.integers(0, 3, (3, 6)), RNG.integers(0, 3, (3, 9))
    # The longest vector is nearest to nothing by its length alone.
    support[:, 0] *= 100.0
    found = nil_accuracy(support, labels, queries, wanted)
    for episode in range(3):
        right = 0
        for query, label in zip(queries[episode], wanted[episode], strict=True):
            cosines = [
                query @ one / np.linalg.norm(query) / np.linalg.norm(one)
                for one in support[episode]
            ]
            right += labels[episode][int(np.argmax(cosines))] == label
        assert found[episode] == pytest.approx(right / 9)
    assert nil_accuracy(support[0], labels[0], queries[0], wanted[0]) == pytest.approx(found[0])


def test_padding_counts_for_nothing() -> None:
    x, y = np.eye(3), np.array([0, 1, -1])
    assert nil_accuracy(x, y, np.eye(3)[[0, 1, 2]], np.array([0, 0, -1])) == 0.5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="Stack episodes of one size"):
        nil_accuracy(np.eye(3), [0, 1], np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="must have samples and queries"):
        nil_accuracy(np.eye(2), [-1, -1], np.eye(2), [0, 1])
