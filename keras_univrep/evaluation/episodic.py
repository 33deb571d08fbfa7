"""Accuracy over episodes, with its confidence interval."""

from collections.abc import Iterable
from typing import Any, Protocol

import keras
import numpy as np

from keras_univrep.metrics import confidence_interval


class _Estimator(Protocol):
    def fit(self, features: Any, labels: Any) -> Any: ...

    def predict(self, features: Any) -> np.ndarray: ...


def evaluate_episodes(
    estimator: _Estimator, episodes: Iterable[tuple[Any, Any, Any, Any]]
) -> tuple[float, float]:
    """Returns the mean accuracy over episodes, and half its 95 % confidence interval.

    Args:
        estimator: An estimator of `keras_univrep.few_shot`, or anything with `fit` and `predict`.
            It is fitted anew on each support set.
        episodes: Support features, support labels, query features and query labels: of one
            episode, (samples, ...) and (samples,), or of many, which run together: of equal size,
            (episodes, samples, ...) and (episodes, samples), or lists of episodes of any size,
            where the estimator takes them, as those of `few_shot` do.

    Returns:
        `(mean, half_width)` in per cent, as few-shot papers print them: the half width is 1.96
        standard deviations of an episode's accuracy over the root of the number of episodes.

    Raises:
        ValueError: If there is no episode, or an episode's labels and predictions do not match.

    Example:
        >>> from keras_univrep.evaluation import evaluate_episodes
        >>> from keras_univrep.few_shot import NearestCentroid
        >>> rng = np.random.default_rng(0)
        >>> labels = np.tile(np.arange(5), (20, 3))
        >>> def features():
        ...     return np.eye(5)[labels] + 0.1 * rng.normal(size=(20, 15, 5))
        >>> evaluate_episodes(NearestCentroid(), [(features(), labels, features(), labels)])
        (100.0, 0.0)

    References:
        - Triantafillou et al., Meta-Dataset, 2020.
    """
    accuracies: list[float] = []
    for support, support_labels, queries, query_labels in episodes:
        predicted = estimator.fit(support, support_labels).predict(queries)
        several = isinstance(predicted, list)
        pairs = (
            zip(predicted, query_labels, strict=True) if several else [(predicted, query_labels)]
        )
        for found, wanted in pairs:
            expected = np.asarray(
                keras.ops.convert_to_numpy(wanted) if keras.ops.is_tensor(wanted) else wanted
            )
            if found.shape != expected.shape:
                raise ValueError(
                    "Query labels must be one for each query. Received: labels of shape "
                    f"{expected.shape} for predictions of shape {found.shape}. "
                    "Give both the same leading axes."
                )
            accuracies.extend(np.atleast_1d(100.0 * np.mean(found == expected, axis=-1)))
    if not accuracies:
        raise ValueError(
            "`episodes` must hold at least one episode. Received: none. "
            "Pass a list, or a fresh iterator."
        )
    return confidence_interval(accuracies)
