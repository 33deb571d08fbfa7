"""`FineTunedLinear` against its steps in float64, on one episode and on many."""

import numpy as np
import pytest

from keras_univrep.few_shot import FineTunedLinear
from tests.few_shot.oracles import episodes


def oracle(x: np.ndarray, labels: np.ndarray, q: np.ndarray, epochs: int, batch: int) -> np.ndarray:
    """Scores of the released code's SGD, from the first weights and orders that are drawn."""
    size, channels = x.shape
    classes = np.unique(labels)
    rng = np.random.default_rng((0, size))
    # As many rows as the estimator's padding draws; the first are these classes'.
    start = rng.uniform(-(channels**-0.5), channels**-0.5, (len(classes), channels + 1)).T
    kernel, bias = start[:-1].copy(), start[-1].copy()
    moved = None
    orders = np.random.default_rng((0, size, 1))
    for _ in range(epochs):
        order = orders.permutation(size)
        for first in range(0, size, batch):
            rows = order[first : first + batch]
            scores = x[rows] @ kernel + bias
            odds = np.exp(scores - scores.max(-1, keepdims=True))
            error = odds / odds.sum(-1, keepdims=True) - (labels[rows, None] == classes)
            grads = [x[rows].T @ error / len(rows), error.mean(0)]
            grads = [g + 0.001 * w for g, w in zip(grads, (kernel, bias))]
            moved = grads if moved is None else [0.9 * v + 0.1 * g for v, g in zip(moved, grads)]
            kernel, bias = kernel - 0.01 * moved[0], bias - 0.01 * moved[1]
    return q @ kernel + bias


def test_scores_are_those_of_the_steps() -> None:
    support, labels, queries, _ = episodes()
    found = FineTunedLinear(epochs=5, batch_size=3).fit(support, labels).scores(queries)
    for index in range(len(support)):
        wanted = oracle(support[index], labels[index], queries[index], 5, 3)
        np.testing.assert_allclose(found[index], wanted, rtol=1e-3, atol=1e-4)
        alone = FineTunedLinear(epochs=5, batch_size=3).fit(support[index], labels[index])
        np.testing.assert_allclose(alone.scores(queries[index]), found[index], rtol=1e-5, atol=1e-6)


def test_episodes_of_other_sizes_change_no_answer() -> None:
    parts = [episodes(1, way, shot, seed=way) for way, shot in ((3, 4), (5, 2))]
    support, labels, queries = ([part[i][0] for part in parts] for i in range(3))
    together = FineTunedLinear(epochs=3).fit(support, labels).scores(queries)
    for x, y, q, found in zip(support, labels, queries, together):
        alone = FineTunedLinear(epochs=3).fit(x, y).scores(q)
        np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`momentum` must be in"):
        FineTunedLinear(momentum=1.0)
    with pytest.raises(ValueError, match="`weight_decay` must not be negative"):
        FineTunedLinear(weight_decay=-1.0)
    with pytest.raises(ValueError, match="`epochs` must be 1 or more"):
        FineTunedLinear(epochs=0)
