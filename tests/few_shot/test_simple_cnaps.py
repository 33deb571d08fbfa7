"""The Mahalanobis head against the released code's numbers and explicit inverses."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.few_shot import SimpleCNAPS
from tests.few_shot.oracles import episodes, mahalanobis
from tests.golden_inputs import golden_x, golden_y


@pytest.mark.parametrize("one_shot", ["fixed", "released"])
def test_scores_are_the_golden_ones(one_shot: str) -> None:
    classifier = SimpleCNAPS(one_shot).fit(golden_x(7, 3), [0, 0, 1, 1, 1, 2, 2])
    expected = [
        [-0.439477298, -1.038728545, -3.814259005],
        [-0.789431677, -0.417785981, -3.825762898],
    ]
    np.testing.assert_allclose(classifier.scores(golden_y(2, 3)), expected, atol=2e-6)


def test_one_shot_of_the_released_code_is_the_golden_one() -> None:
    # The golden inputs' first sample has variance 0.232490158 over its channels.
    assert np.var(golden_x(3, 3)[0], ddof=1) == pytest.approx(0.232490158, abs=1e-9)
    classifier = SimpleCNAPS("released").fit(golden_x(3, 3), [0, 1, 2])
    expected = [-1.200650936, -0.180004307, -0.325319083]
    np.testing.assert_allclose(classifier.scores(golden_y(2, 3))[0], expected, atol=1e-6)


@pytest.mark.parametrize("released", [False, True])
def test_scores_are_the_oracles_with_classes_of_one_sample_and_more(released: bool) -> None:
    support, labels, queries, _ = episodes(shot=3)
    labels = np.where(labels == 2, 1, labels)
    labels[:, 0] = 2
    classifier = SimpleCNAPS("released" if released else "fixed").fit(support, labels)
    actual = classifier.scores(queries)
    for index in range(len(support)):
        expected = mahalanobis(queries[index], support[index], labels[index], released)
        np.testing.assert_allclose(actual[index], expected, rtol=1e-4, atol=1e-5)


def test_one_sample_of_each_class_spreads_as_the_whole_task_halved() -> None:
    x, queries = golden_x(3, 3), golden_y(2, 3)
    actual = SimpleCNAPS().fit(x, [0, 1, 2]).scores(queries)
    inverse = np.linalg.inv(0.5 * np.cov(x.T) + np.eye(3))
    differences = queries[:, None] - x
    expected = -np.einsum("qci,ij,qcj->qc", differences, inverse, differences)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_more_channels_than_samples_are_no_trouble() -> None:
    support, labels, queries, _ = episodes(channels=40)
    assert np.isfinite(SimpleCNAPS().fit(support, labels).scores(queries)).all()


def test_an_unknown_one_shot_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="`one_shot` must be one of .*Received"):
        SimpleCNAPS("zero")
