"""What every estimator owes: one answer for one episode and for many, and clear errors."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable

import numpy as np
import pytest
from keras import ops

from keras_univrep import few_shot
from tests.few_shot.oracles import episodes

needs_scikit_learn = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed"
)


def cross_validated() -> few_shot.PreClassifierAlignment:
    return few_shot.PreClassifierAlignment("cross_validated", steps=2, folds=2)


def transductive() -> few_shot.TransductiveAlignment:
    return few_shot.TransductiveAlignment(few_shot.PreClassifierAlignment(steps=3), 2)


MAKERS = [
    few_shot.NearestCentroid,
    lambda: few_shot.NearestCentroid("euclidean"),
    lambda: few_shot.NearestCentroid("dot"),
    lambda: few_shot.NearestCentroid("correlation"),
    lambda: few_shot.NearestNeighbours(3),
    few_shot.SimpleCNAPS,
    lambda: few_shot.PreClassifierAlignment(steps=3),
    cross_validated,
    pytest.param(few_shot.LogisticRegression, marks=needs_scikit_learn),
    pytest.param(few_shot.SupportVectorMachine, marks=needs_scikit_learn),
]
every = pytest.mark.parametrize("make", MAKERS)
every_and_transductive = pytest.mark.parametrize("make", [*MAKERS, transductive])
Maker = Callable[[], few_shot.NearestCentroid]


@every
def test_a_batch_of_episodes_is_the_episodes_one_by_one(make: Maker) -> None:
    support, labels, queries, _ = episodes()
    together = make().fit(support, labels)
    for index in range(len(support)):
        alone = make().fit(support[index], labels[index])
        expected = alone.scores(queries[index])
        actual = together.scores(queries)[index]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(
            together.predict(queries)[index], alone.predict(queries[index])
        )


def uneven_episodes() -> tuple[list[np.ndarray], ...]:
    """Support, labels and queries of episodes of different way, shot and number of queries."""
    sizes = ((3, 4, 6), (5, 2, 4), (2, 3, 5))
    parts = [episodes(1, way, shot, seed=way) for way, shot, _ in sizes]
    support, labels, queries = ([part[i][0] for part in parts] for i in range(3))
    labels[1] = 10 * labels[1] - 5
    return support, labels, [q[:count] for q, (_, _, count) in zip(queries, sizes)]


@every_and_transductive
def test_a_list_of_episodes_of_different_sizes_is_the_episodes_one_by_one(make: Maker) -> None:
    support, labels, queries = uneven_episodes()
    together = make().fit(support, labels)
    answers = (together.scores(queries), together.predict(queries), together.predict_proba(queries))
    assert all(isinstance(answer, list) for answer in answers)
    for x, y, q, classes, scores, predicted, odds in zip(
        support, labels, queries, together.classes_, *answers
    ):
        alone = make().fit(x, y)
        np.testing.assert_array_equal(classes, alone.classes_)
        np.testing.assert_allclose(scores, alone.scores(q), rtol=1e-4, atol=2e-5)
        np.testing.assert_array_equal(predicted, alone.predict(q))
        np.testing.assert_allclose(odds, alone.predict_proba(q), atol=1e-5)


@every_and_transductive
def test_a_bad_list_of_episodes_is_refused(make: Maker) -> None:
    support, labels, queries = uneven_episodes()
    with pytest.raises(ValueError, match="one label for each sample.*Received"):
        make().fit(support, labels[:2])
    with pytest.raises(ValueError, match="one label for each sample.*Received"):
        make().fit(support, [labels[1], labels[0], labels[2]])
    with pytest.raises(ValueError, match="differ in samples only.*Received"):
        make().fit([support[0], support[1][:, 1:], support[2]], labels)
    with pytest.raises(ValueError, match=r"`features\[2\]` must be finite"):
        make().fit([*support[:2], np.full_like(support[2], np.inf)], labels)
    with pytest.raises(ValueError, match="two classes or more.*Received"):
        make().fit(support, [*labels[:2], np.zeros_like(labels[2])])
    classifier = make().fit(support, labels)
    for wrong in (queries[:2], [q[:, 1:] for q in queries], queries[0]):
        with pytest.raises(ValueError, match="channels of the support set.*Received"):
            classifier.predict(wrong)


@every
def test_probabilities_sum_to_one_and_their_highest_is_predicted(make: Maker) -> None:
    support, labels, queries, _ = episodes()
    classifier = make().fit(support, labels)
    odds = classifier.predict_proba(queries)
    assert odds.shape == (3, 6, 3)
    np.testing.assert_allclose(odds.sum(axis=-1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict(queries), odds.argmax(axis=-1))


@every
def test_labels_may_have_gaps_be_strings_and_differ_between_episodes(make: Maker) -> None:
    support, labels, queries, _ = episodes()
    plain = make().fit(support, labels).predict(queries)
    names = np.array([[4, 17, 90], [-3, 0, 2], [1, 2, 3]])
    renamed = make().fit(support, np.take_along_axis(names, labels, axis=1))
    np.testing.assert_array_equal(renamed.classes_, names)
    np.testing.assert_array_equal(
        renamed.predict(queries), np.take_along_axis(names, plain, axis=1)
    )
    words = np.array(["ant", "bee", "cat"])
    np.testing.assert_array_equal(make().fit(support, words[labels]).predict(queries), words[plain])


@every
def test_the_order_of_classes_does_not_matter(make: Maker) -> None:
    support, labels, queries, _ = episodes()
    scores = make().fit(support, labels).scores(queries)
    order = np.array([2, 0, 1])
    again = make().fit(support, order[labels]).scores(queries)
    np.testing.assert_allclose(again[..., order], scores, rtol=1e-3, atol=1e-3)


# Cross validation deals the samples out in their order.
@pytest.mark.parametrize("make", [maker for maker in MAKERS if maker is not cross_validated])
def test_the_order_of_samples_does_not_matter(make: Maker) -> None:
    support, labels, queries, _ = episodes()
    scores = make().fit(support, labels).scores(queries)
    shuffle = np.random.default_rng(1).permutation(labels.shape[1])
    again = make().fit(support[:, shuffle], labels[:, shuffle]).scores(queries)
    np.testing.assert_allclose(again, scores, rtol=1e-3, atol=1e-3)


@every
def test_tensors_are_taken_as_arrays_are(make: Maker) -> None:
    support, labels, queries, _ = episodes()
    expected = make().fit(support, labels).scores(queries)
    tensors = [ops.convert_to_tensor(x, dtype="float32") for x in (support, queries)]
    classifier = make().fit(tensors[0], ops.convert_to_tensor(labels.astype("int32")))
    np.testing.assert_allclose(classifier.scores(tensors[1]), expected, atol=1e-5)


@every
def test_bad_input_is_refused(make: Maker) -> None:
    support, labels, queries, _ = episodes()
    with pytest.raises(ValueError, match="one label for each sample.*Received"):
        make().fit(support, labels[:, 1:])
    with pytest.raises(ValueError, match="one label for each sample.*Received"):
        make().fit(support, labels[:2])
    broken = support.copy()
    broken[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="`features` must be finite.*NaN"):
        make().fit(broken, labels)
    with pytest.raises(ValueError, match="two classes or more.*Received"):
        make().fit(support, np.zeros_like(labels))
    uneven = np.where(np.arange(3)[:, None] == 1, labels % 2, labels)
    with pytest.raises(ValueError, match=re.escape("[2, 3] classes")):
        make().fit(support, uneven)
    with pytest.raises(ValueError, match="Take the argmax"):
        make().fit(support, labels.astype("float32"))
    with pytest.raises(ValueError, match="not empty"):
        make().fit(support[:, :0], labels[:, :0])
    with pytest.raises(RuntimeError, match="must be fitted first"):
        make().predict(queries)
    classifier = make().fit(support, labels)
    for wrong in (queries[..., 1:], queries[:2], queries[0]):
        with pytest.raises(ValueError, match="channels of the support set.*Received"):
            classifier.predict(wrong)
    with pytest.raises(ValueError, match="finite"):
        classifier.predict(np.full_like(queries, np.inf))


def test_one_episode_among_many_is_not_one_episode() -> None:
    support, labels, queries, _ = episodes(count=1)
    assert few_shot.NearestCentroid().fit(support, labels).predict(queries).shape == (1, 6)
    assert few_shot.NearestCentroid().fit(support[0], labels[0]).predict(queries[0]).shape == (6,)
