"""The alignment against the released code's numbers and a float64 Adadelta on differences."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.few_shot import NearestCentroid, PreClassifierAlignment
from tests.few_shot.oracles import adadelta, cosine_logits, cross_entropy, episodes
from tests.golden_inputs import golden_x, golden_y

LABELS, QUERY_LABELS = np.array([0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 0, 1, 2])


def support_loss(classifier: PreClassifierAlignment, x: np.ndarray, labels: np.ndarray) -> float:
    return cross_entropy(classifier.scores(x), labels)


@pytest.mark.parametrize(
    "rate, support, query, row",
    [
        (
            "seen",
            0.021535487,
            3.565793108,
            [0.989691241, -0.010464176, 0.009808221, 0.009527797, -0.009670507],
        ),
        (
            "unseen",
            0.013765403,
            3.567087263,
            [0.961790794, -0.060720233, 0.020972277, 0.031159754, -0.017823600],
        ),
    ],
)
def test_losses_and_theta_are_the_golden_ones(
    rate: str, support: float, query: float, row: list[float]
) -> None:
    classifier = PreClassifierAlignment(rate).fit(golden_x(6), LABELS)
    assert support_loss(classifier, golden_x(6), LABELS) == pytest.approx(support, abs=1e-6)
    assert support_loss(classifier, golden_y(6), QUERY_LABELS) == pytest.approx(query, abs=1e-5)
    np.testing.assert_allclose(classifier.theta_[0, 0], row, atol=2e-6)


def test_without_steps_it_is_the_nearest_centroid_with_the_golden_loss() -> None:
    classifier = PreClassifierAlignment(steps=0).fit(golden_x(6), LABELS)
    np.testing.assert_array_equal(classifier.theta_[0], np.eye(5))
    assert support_loss(classifier, golden_x(6), LABELS) == pytest.approx(0.033084348, abs=1e-6)
    expected = NearestCentroid().fit(golden_x(6), LABELS).scores(golden_y(6))
    np.testing.assert_allclose(classifier.scores(golden_y(6)), expected, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2])
def test_theta_is_that_of_float64_adadelta_on_central_differences(steps: int) -> None:
    support, labels, _, _ = episodes(count=2, channels=4)
    actual = PreClassifierAlignment(0.7, steps=steps).fit(support, labels).theta_
    for x, y, theta in zip(support, labels, actual):

        def loss(values: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            z = x @ values.T
            return cross_entropy(cosine_logits(z, z, y), y)

        expected = adadelta(loss, np.eye(4), 0.7, steps)
        assert np.abs(expected - np.eye(4)).max() > 1e-3
        np.testing.assert_allclose(theta, expected, atol=2e-6)


def test_the_loss_on_the_support_set_falls() -> None:
    support, labels, _, _ = episodes(count=1)
    losses = [
        support_loss(
            PreClassifierAlignment(steps=steps).fit(support[0], labels[0]), support[0], labels[0]
        )
        for steps in (0, 5, 40)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


def test_a_batch_size_changes_nothing_even_where_it_does_not_divide() -> None:
    support, labels, _, _ = episodes(count=5)
    expected = PreClassifierAlignment(steps=5).fit(support, labels).theta_
    for batch_size in (2, 7):
        parts = PreClassifierAlignment(steps=5, batch_size=batch_size).fit(support, labels).theta_
        np.testing.assert_allclose(parts, expected, atol=1e-6)


def test_an_episode_does_not_depend_on_its_neighbours() -> None:
    support, labels, _, _ = episodes()
    before = PreClassifierAlignment(steps=5).fit(support, labels).theta_
    support[1:] = support[1:] ** 2
    after = PreClassifierAlignment(steps=5).fit(support, labels).theta_
    np.testing.assert_allclose(before[0], after[0], atol=1e-6)
    assert np.abs(before[1:] - after[1:]).max() > 1e-2


def held_out_loss(x: np.ndarray, labels: np.ndarray, rate: float, folds: int) -> float:
    """Sum over folds of the loss of samples left out, by fits of what remains."""
    seen = dict.fromkeys(np.unique(labels).tolist(), 0)
    fold = np.empty(len(labels), int)
    for index, label in enumerate(labels.tolist()):
        fold[index] = seen[label] % folds
        seen[label] += 1
    fold[[seen[label] == 1 for label in labels.tolist()]] = -1
    total = 0.0
    for number in range(folds):
        out = fold == number
        if out.any():
            classifier = PreClassifierAlignment(rate, steps=6).fit(x[~out], labels[~out])
            total += out.sum() * cross_entropy(classifier.scores(x[out]), labels[out])
    return total


def test_cross_validation_takes_the_rate_with_the_lowest_loss_on_samples_left_out() -> None:
    candidates = (0.01, 0.3, 3.0)
    rng = np.random.default_rng(4)
    # The class of one sample is never left out.
    labels = np.tile([0, 1, 0, 1, 0, 1, 0, 1, 2], (4, 1))
    support = rng.normal(size=(4, 3, 5))[np.arange(4)[:, None], labels]
    support += rng.normal(size=support.shape) * np.array([0.2, 0.5, 1.0, 2.0])[:, None, None]
    classifier = PreClassifierAlignment(
        "cross_validated", steps=6, candidates=candidates, folds=2
    ).fit(support, labels)
    losses = [
        [held_out_loss(x, y, rate, 2) for rate in candidates] for x, y in zip(support, labels)
    ]
    best = np.argmin(losses, axis=1)
    np.testing.assert_allclose(classifier.learning_rates_, np.array(candidates)[best])
    assert len(set(best.tolist())) > 1
    fixed = PreClassifierAlignment(candidates[best[2]], steps=6).fit(support, labels)
    np.testing.assert_allclose(classifier.theta_[2], fixed.theta_[2], atol=1e-6)


def test_one_shot_has_nothing_to_hold_out_and_takes_the_first_candidate() -> None:
    support, labels, _, _ = episodes(shot=1)
    classifier = PreClassifierAlignment("cross_validated", steps=2, candidates=(0.5, 0.1))
    np.testing.assert_allclose(classifier.fit(support, labels).learning_rates_, 0.5)


def test_the_scale_of_features_changes_nothing() -> None:
    support, labels, _, _ = episodes()
    one = PreClassifierAlignment(steps=5).fit(support, labels).theta_
    ten = PreClassifierAlignment(steps=5).fit(10.0 * support, labels).theta_
    np.testing.assert_allclose(ten, one, atol=1e-5)


def test_a_zero_sample_leaves_theta_finite() -> None:
    support, labels, _, _ = episodes()
    support[0, 0] = 0.0
    assert np.isfinite(PreClassifierAlignment().fit(support, labels).theta_).all()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="`learning_rate` must be a number or one of"):
        PreClassifierAlignment("auto")
    with pytest.raises(ValueError, match="`learning_rate` must be positive"):
        PreClassifierAlignment(0.0)
    with pytest.raises(ValueError, match="`steps` must be 0 or more"):
        PreClassifierAlignment(steps=-1)
    with pytest.raises(ValueError, match="`folds` must be 2 or more"):
        PreClassifierAlignment(folds=1)
    with pytest.raises(ValueError, match="`candidates` must hold at least one"):
        PreClassifierAlignment("cross_validated", candidates=())
    with pytest.raises(TypeError, match="`batch_size` must be an integer"):
        PreClassifierAlignment(batch_size=2.0)  # type: ignore[arg-type]
