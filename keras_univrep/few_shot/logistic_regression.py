"""Multinomial logistic regression, by scikit-learn."""

from __future__ import annotations

import functools
import math

import numpy as np

from keras_univrep.few_shot._checks import positive_number, whole_number
from keras_univrep.few_shot._episodes import Sets
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._scikit_learn import answer_each, fit_each, scikit_learn


class LogisticRegression(EpisodicClassifier):
    """Multinomial logistic regression on the support set, an episode after the other.

    Equation:
        For the support set S:

            min_{W, b}  C sum_{(x, y) in S} ce(softmax(W f(x) + b), y) + ||W||^2 / 2

        | symbol | here | shape |
        |---|---|---|
        | f(x) | `features` | (episodes, samples, channels) |
        | C | `c` | scalar |

    Differences:
        None known: without a penalty, as the code that li2022 compares with. Where classes can be
        separated, that has no minimum, and the answer is where the solver stopped.

    Args:
        c: Inverse of the strength of the penalty; infinity for none.
        max_iterations: At most as many steps of L-BFGS.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If an argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import LogisticRegression
        >>> support = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> classifier = LogisticRegression(c=1.0)  # doctest: +SKIP
        >>> classifier.fit(support, [0, 0, 1, 1]).predict(support).tolist()  # doctest: +SKIP
        [0, 0, 1, 1]

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """

    def __init__(self, c: float = math.inf, max_iterations: int = 1000) -> None:
        self.c = c if c == math.inf else positive_number("c", c)
        self.max_iterations = whole_number("max_iterations", max_iterations, 1)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        make = scikit_learn("linear_model").LogisticRegression
        self._classifiers = fit_each(
            functools.partial(make, C=self.c, max_iter=self.max_iterations), support, one_hot
        )

    def _answer(self, queries: Sets) -> np.ndarray:
        return answer_each("predict_log_proba", self._classifiers, queries)
