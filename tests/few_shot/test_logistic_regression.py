"""Logistic regression against the condition that its optimum fulfils."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from keras_univrep.few_shot import LogisticRegression
from tests.few_shot.oracles import episodes


def test_without_a_penalty_the_residuals_are_orthogonal_to_the_features() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(3), (2, 20))
    x = 0.5 * np.eye(3)[labels] + rng.normal(size=(2, 60, 3))
    odds = LogisticRegression().fit(x, labels).predict_proba(x)
    residuals = odds - np.eye(3)[labels]
    assert np.abs(residuals).mean() > 0.1
    np.testing.assert_allclose(np.einsum("enk,end->ekd", residuals, x) / 60, 0.0, atol=2e-4)
    np.testing.assert_allclose(residuals.mean(axis=1), 0.0, atol=2e-4)


def test_a_penalty_shrinks_and_two_classes_have_two_scores() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    support, labels, queries, _ = episodes(way=2)
    strong = LogisticRegression(c=1e-3).fit(support, labels).predict_proba(queries)
    weak = LogisticRegression(c=1.0).fit(support, labels).predict_proba(queries)
    assert strong.shape == (3, 6, 2)
    assert np.abs(strong - 0.5).mean() < 0.3 * np.abs(weak - 0.5).mean()


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install 'keras_univrep\[few-shot\]'"):
        LogisticRegression().fit(np.eye(2), [0, 1])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="`c` must be positive"):
        LogisticRegression(c=0.0)
    with pytest.raises(ValueError, match="`max_iterations` must be 1 or more"):
        LogisticRegression(max_iterations=0)
