"""The mean of what several estimators say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Ensemble:
    """Averages the probabilities of estimators, each on channels of its own.

    So the heads of an Omni-Net predict together: the features of its flows stand side by side, and
    each flow has the estimators of its algorithms.

    Equation:
        shu2021, section 4.3, for members m with channels f_m:

            p(y | x) = 1/M sum_m p_m(y | f_m(x))

    Differences:
        The paper says ensemble, and not of what: here it is the mean of probabilities.

    Args:
        members: Pairs of an estimator and the slice of channels that it sees: one of this package,
            or another with `fit` and `scores`, such as `models.EpisodeClassifier`.

    Raises:
        ValueError: If there is no member, or one sees no channel.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import Ensemble, NearestCentroid
        >>> support = np.eye(4)
        >>> members = [(NearestCentroid(), slice(0, 2)), (NearestCentroid(), slice(2, 4))]
        >>> Ensemble(members).fit(support, [0, 0, 1, 1]).predict(support).tolist()
        [0, 0, 1, 1]

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    def __init__(self, members: Sequence[tuple[Any, slice]]) -> None:
        if not members:
            raise ValueError(
                "`members` must hold at least one estimator. Received: none. Pass pairs of an "
                "estimator and the slice of its channels."
            )
        self.members = list(members)

    @property
    def classes_(self) -> Any:
        """Classes of the episodes, after `fit`."""
        return self.members[0][0].classes_

    def fit(self, features: Any, labels: Any) -> Ensemble:
        """Fits each member on its channels of the support sets.

        Args:
            features: As for the estimators, (..., all channels).
            labels: As for the estimators.

        Returns:
            The ensemble itself.

        Raises:
            ValueError: If a member sees no channel.
        """
        for estimator, own in self.members:
            estimator.fit(_part(features, own), labels)
        return self

    def predict_proba(self, features: Any) -> Any:
        """Mean probabilities of the classes.

        Args:
            features: As in `fit`.

        Returns:
            NumPy array (samples, classes) or (episodes, samples, classes), or a list of arrays.
        """
        found = [_probabilities(estimator, _part(features, own)) for estimator, own in self.members]
        if isinstance(found[0], list):
            return [np.mean(rows, axis=0) for rows in zip(*found, strict=True)]
        return np.mean(found, axis=0)  # shu2021 sec. 4.3

    def predict(self, features: Any) -> Any:
        """Labels of the highest mean probability.

        Args:
            features: As in `fit`.

        Returns:
            NumPy array of labels, (samples,) or (episodes, samples), or a list of arrays.
        """
        odds, classes = self.predict_proba(features), self.classes_
        if isinstance(odds, list):
            return [own[rows.argmax(-1)] for own, rows in zip(classes, odds, strict=True)]
        best, classes = odds.argmax(-1), np.asarray(classes)
        return classes[best] if classes.ndim == 1 else np.take_along_axis(classes, best, axis=-1)


def _probabilities(estimator: Any, features: Any) -> Any:
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(features)
    scores = estimator.scores(features)
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def _part(features: Any, own: slice) -> Any:
    if isinstance(features, (list, tuple)):
        return [_part(x, own) for x in features]
    found = features[..., own]
    if not found.shape[-1]:
        raise ValueError(
            f"A member must see channels. Received: {own} of features with "
            f"{features.shape[-1]}. Pass slices of the channels that there are."
        )
    return found
