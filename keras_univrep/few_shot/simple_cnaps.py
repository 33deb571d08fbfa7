"""The Mahalanobis distance to each class, with a regularised covariance of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot._compiled import episodes_at_a_time, run_compiled
from keras_univrep.few_shot._episodes import Sets
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.layers.class_gaussians import class_gaussians, mahalanobis_scores
from keras_univrep.types import Tensor

ONE_SHOT = ("fixed", "released")


class SimpleCNAPS(EpisodicClassifier):
    """Classifies by the squared Mahalanobis distance to the mean of each class.

    Equation:
        The head of Simple CNAPS, compared with in li2022 table 7:

            logit_j(x) = -(f - c_j)' Q_j^-1 (f - c_j)
            Q_j = lambda_j S_j + (1 - lambda_j) S + I,   lambda_j = n_j / (n_j + 1)

        | symbol | here | shape |
        |---|---|---|
        | f | `features` | (episodes, samples, channels) |
        | c | means of the classes | (episodes, classes, channels) |
        | S_j | covariance of class j, over n_j - 1 | (episodes, classes, channels, channels) |
        | S | covariance of the support set, over n - 1 | (episodes, channels, channels) |
        | n_j | samples of class j | (episodes, classes) |

    Differences:
        The Simple CNAPS paper has a factor 1/2 before the distance; the code that li2022 compares
        with has none. For a class of one sample that code adds, to every entry of Q_j, lambda_j
        times the variance of the sample over its channels: `one_shot="released"`. By default
        S_j is zero there, as one sample has no spread.

    Args:
        one_shot: `"fixed"` or `"released"`: what S_j is for a class of one sample.

    Raises:
        ValueError: If `one_shot` is unknown.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import SimpleCNAPS
        >>> support = np.array([[0.0, 4.0], [0.0, -4.0], [3.0, 1.0], [3.0, -1.0]])
        >>> classifier = SimpleCNAPS().fit(support, [0, 0, 1, 1])
        >>> classifier.predict(np.array([[1.6, 8.0], [1.6, 0.0]])).tolist()
        [0, 1]

    References:
        - Bateni, Goyal, Masrani, Wood, Sigal. Improved few-shot visual classification. 2020.
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """

    def __init__(self, one_shot: str = "fixed") -> None:
        if one_shot not in ONE_SHOT:
            raise ValueError(
                f"`one_shot` must be one of {list(ONE_SHOT)}. Received: one_shot={one_shot!r}. "
                "Pass 'released' for the numbers that were published."
            )
        self.one_shot = one_shot

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        way, channels = one_hot.shape[-1], int(support.x.shape[-1])
        self._batch_size = episodes_at_a_time(support.x, way * channels**2)
        self._gaussians = run_compiled(
            _gaussians,
            [support.x, one_hot],
            self._batch_size,
            released=self.one_shot == "released",
            channels=channels,
        )

    def _answer(self, queries: Sets) -> Any:
        return run_compiled(mahalanobis_scores, [queries.x, *self._gaussians], self._batch_size)


def _gaussians(x: Tensor, one_hot: Tensor, released: bool, channels: int) -> tuple[Tensor, Tensor]:
    x = ops.reshape(x, (*ops.shape(x)[:2], channels))
    return class_gaussians(x, one_hot, released)
