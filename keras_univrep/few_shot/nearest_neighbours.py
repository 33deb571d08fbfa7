"""The class of most of the nearest samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot._checks import whole_number
from keras_univrep.few_shot._compiled import run_light
from keras_univrep.few_shot._episodes import Sets, as_array
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._similarity import check_similarity, similarity
from keras_univrep.types import Tensor


class NearestNeighbours(EpisodicClassifier):
    """Classifies by a vote of the k nearest support samples.

    Equation:
        The k-nearest-neighbour rule:

            p(y = j | x) = 1 / k sum_{i in N_k(x)} 1[y_i = j]

        | symbol | here | shape |
        |---|---|---|
        | N_k(x) | the `k` support samples most like x by `metric` | (episodes, samples, k) |
        | p | `predict_proba`, and `scores` | (episodes, samples, classes) |

    Differences:
        A tied vote goes to the first of the classes in their order, as in scikit-learn.

    Args:
        k: Number of neighbours.
        metric: `"euclidean"` or `"cosine"`.

    Raises:
        ValueError: If `metric` is unknown, or a support set has fewer than `k` samples.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import NearestNeighbours
        >>> classifier = NearestNeighbours(k=3, metric="euclidean")
        >>> _ = classifier.fit(np.array([[0.0], [1.0], [2.0], [9.0]]), [4, 4, 7, 7])
        >>> classifier.predict(np.array([[0.5], [8.0]])).tolist()
        [4, 7]
    """

    def __init__(self, k: int = 1, metric: str = "cosine") -> None:
        self.k = whole_number("k", k, 1)
        self.metric = check_similarity("metric", metric, ("euclidean", "cosine"))

    def predict_proba(self, features: Any) -> Any:
        """Share of the votes.

        Args:
            features: As in `scores`.

        Returns:
            NumPy array (samples, classes) or (episodes, samples, classes), or a list of arrays,
            whose rows sum to one.
        """
        return self.scores(features)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        if min(support.sizes) < self.k:
            raise ValueError(
                "A support set must have `k` samples or more. Received: "
                f"{min(support.sizes)} samples, k={self.k}. Lower `k`."
            )
        self._support, self._one_hot = support, one_hot

    def _answer(self, queries: Sets) -> np.ndarray:
        nearest = run_light(
            _nearest,
            [queries.x, self._support.x, self._support.present],
            metric=self.metric,
            k=self.k,
        )
        episode = np.arange(len(self._one_hot))[:, None, None]
        return self._one_hot[episode, as_array(nearest)].mean(axis=2)


def _nearest(x: Tensor, support: Tensor, present: Tensor, metric: str, k: int) -> Tensor:
    """Places of the support samples most like each query, (episodes, queries, k)."""
    return ops.top_k(similarity(metric, x, support, present), k)[1]
