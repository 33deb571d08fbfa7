"""The Mahalanobis distance to each class, with a regularised covariance of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot._episodes import class_means, one_hot_of
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
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

    def _learn(self, x: Any, indices: np.ndarray) -> None:
        one_hot = one_hot_of(indices)
        count = ops.sum(one_hot, axis=1)
        means = class_means(x, one_hot)
        deviations = x - ops.matmul(one_hot, means)
        # (episodes, classes, samples, channels): the samples of each class, zeros for the others.
        own = deviations[:, None] * ops.swapaxes(one_hot, 1, 2)[..., None]
        spread = ops.matmul(ops.swapaxes(own, -1, -2), own)
        of_class = spread / ops.maximum(count - 1.0, 1.0)[..., None, None]
        if self.one_shot == "released":
            # One sample is its class's mean.
            variance = ops.var(means, axis=-1) * (x.shape[-1] / max(x.shape[-1] - 1, 1))
            variance = ops.where(count == 1.0, variance, ops.zeros_like(variance))
            of_class = of_class + variance[..., None, None]
        centred = x - ops.mean(x, axis=1, keepdims=True)
        of_task = ops.matmul(ops.swapaxes(centred, 1, 2), centred) / (x.shape[1] - 1)
        weight = (count / (count + 1.0))[..., None, None]
        covariance = weight * of_class + (1.0 - weight) * of_task[:, None]
        covariance = covariance + ops.eye(x.shape[-1], dtype=x.dtype)
        self._means, self._factors = means, ops.cholesky(covariance)

    def _answer(self, x: Any) -> Tensor:
        differences = x[:, None] - self._means[:, :, None]
        whitened = ops.solve_triangular(
            self._factors, ops.swapaxes(differences, -1, -2), lower=True
        )
        return -ops.swapaxes(ops.sum(ops.square(whitened), axis=-2), 1, 2)
