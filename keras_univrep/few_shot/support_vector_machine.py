"""A linear support vector machine, by scikit-learn."""

from __future__ import annotations

import numpy as np

from keras_univrep.few_shot._checks import positive_number
from keras_univrep.few_shot._episodes import Sets
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._scikit_learn import answer_each, fit_each, scikit_learn


class SupportVectorMachine(EpisodicClassifier):
    """A linear support vector machine on standardised features, an episode after the other.

    Equation:
        For each pair of classes, on features of mean 0 and variance 1 over the support set,

            min_{w, b}  ||w||^2 / 2 + C sum_i max(0, 1 - y_i (w' f_i + b))

        | symbol | here | shape |
        |---|---|---|
        | f | `features`, standardised | (episodes, samples, channels) |
        | C | `c` | scalar |

    Differences:
        None known from the code that li2022 compares with, but that equal votes of the pairs go to
        the larger margin. `predict_proba` is the softmax of scikit-learn's decision values: their
        order means something, their size does not.

    Args:
        c: Weight of the samples on the wrong side of the margin.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If `c` is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import SupportVectorMachine
        >>> support = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> classifier = SupportVectorMachine()  # doctest: +SKIP
        >>> classifier.fit(support, [0, 0, 1, 1]).predict(support).tolist()  # doctest: +SKIP
        [0, 0, 1, 1]

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """

    def __init__(self, c: float = 1.0) -> None:
        self.c = positive_number("c", c)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        pipeline, preprocessing, svm = (
            scikit_learn(name) for name in ("pipeline", "preprocessing", "svm")
        )
        self._classifiers = fit_each(
            lambda: pipeline.make_pipeline(
                preprocessing.StandardScaler(), svm.SVC(kernel="linear", C=self.c)
            ),
            support,
            one_hot,
        )

    def _answer(self, queries: Sets) -> np.ndarray:
        return answer_each("decision_function", self._classifiers, queries)
