"""Classifiers of scikit-learn, one for each episode."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_univrep.few_shot._episodes import Sets, as_array


def scikit_learn(module: str) -> Any:
    """A module of scikit-learn, or an error that says how to install it."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise ImportError(
            "This estimator runs scikit-learn. Received: no module `sklearn`. "
            "Install it by `pip install 'keras_univrep[few-shot]'`."
        ) from error


def fit_each(make: Callable[[], Any], support: Sets, one_hot: np.ndarray) -> list[Any]:
    """A fitted classifier for each episode, of its own samples."""
    features, indices = as_array(support.x).astype("float64"), one_hot.argmax(axis=-1)
    return [
        make().fit(rows[:size], labels[:size])
        for rows, labels, size in zip(features, indices, support.sizes, strict=True)
    ]


def answer_each(answer: str, classifiers: list[Any], queries: Sets) -> np.ndarray:
    """What a method of each classifier answers, (episodes, samples, classes), or zeros."""
    features = as_array(queries.x).astype("float64")
    way = max(len(classifier.classes_) for classifier in classifiers)
    answers = np.zeros((*features.shape[:2], way))
    for found, classifier, rows, size in zip(
        answers, classifiers, features, queries.sizes, strict=True
    ):
        own = getattr(classifier, answer)(rows[:size])
        # Of two classes some methods answer for the second alone.
        own = own if own.ndim == 2 else np.stack([-own, own], axis=-1)
        found[:size, : own.shape[1]] = own
    return answers
