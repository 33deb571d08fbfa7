"""`Ensemble`: the mean of its members, on their own channels."""

import numpy as np
import pytest

from keras_univrep.few_shot import Ensemble, NearestCentroid
from tests.few_shot.oracles import episodes


def members() -> list[tuple[NearestCentroid, slice]]:
    return [(NearestCentroid(), slice(0, 3)), (NearestCentroid("euclidean"), slice(2, None))]


def test_probabilities_are_the_mean_and_the_best_class_is_predicted() -> None:
    support, labels, queries, _ = episodes()
    labels = 10 * labels + 1
    found = Ensemble(members()).fit(support, labels)
    wanted = np.mean(
        [m.fit(support[..., own], labels).predict_proba(queries[..., own]) for m, own in members()],
        axis=0,
    )
    np.testing.assert_allclose(found.predict_proba(queries), wanted, rtol=1e-5)
    best = np.take_along_axis(found.classes_, wanted.argmax(-1), -1)
    np.testing.assert_array_equal(found.predict(queries), best)
    alone = Ensemble(members()).fit(support[0], labels[0])
    np.testing.assert_array_equal(alone.predict(queries[0]), best[0])
    listed = Ensemble(members()).fit(list(support), list(labels))
    np.testing.assert_array_equal(np.stack(listed.predict(list(queries))), best)


class Scored:
    """An estimator of logits alone, with the classes of all episodes."""

    classes_ = np.array([1, 11, 21])

    def fit(self, features, labels):
        return self

    def scores(self, features):
        return 2.0 * features


def test_logits_are_made_probabilities() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    found = Ensemble([(Scored(), slice(0, 3))]).fit(x, None)
    odds = np.exp(2.0 * x)
    np.testing.assert_allclose(found.predict_proba(x), odds / odds.sum(-1, keepdims=True))
    np.testing.assert_array_equal(found.predict(x), 10 * x.argmax(-1) + 1)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one estimator"):
        Ensemble([])
    with pytest.raises(ValueError, match="must see channels"):
        Ensemble([(NearestCentroid(), slice(9, 9))]).fit(np.eye(4), [0, 0, 1, 1])
