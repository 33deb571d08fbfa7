"""The support vector machine against cases whose margin is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from keras_univrep.few_shot import SupportVectorMachine
from tests.few_shot.oracles import episodes


def test_the_widest_margin_is_found_on_standardised_features() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    support = np.array([[-3.0], [-1.0], [2.0], [4.0]])
    classifier = SupportVectorMachine(c=1e4).fit(support, [0, 0, 1, 1])
    # The boundary lies midway between -1 and 2, where the decision is -1 and 1.
    scores = classifier.scores(np.array([[-1.0], [0.5], [2.0]]))[:, 1]
    np.testing.assert_allclose(scores, [-1.0, 0.0, 1.0], atol=1e-3)
    assert classifier.predict(np.array([[0.4], [0.6]])).tolist() == [0, 1]


def test_units_of_channels_do_not_matter() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    support, labels, queries, _ = episodes()
    expected = SupportVectorMachine().fit(support, labels).scores(queries)
    units = np.array([1e-3, 1.0, 5.0, 1e3, 2.0])
    actual = SupportVectorMachine().fit(support * units, labels).scores(queries * units)
    np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(ImportError, match=r"pip install 'keras_univrep\[few-shot\]'"):
        SupportVectorMachine().fit(np.eye(2), [0, 1])


def test_a_weight_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="`c` must be positive"):
        SupportVectorMachine(c=-1.0)
