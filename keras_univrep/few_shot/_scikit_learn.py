"""Classifiers of scikit-learn, one for each episode."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_univrep.few_shot._episodes import as_array


def scikit_learn(module: str) -> Any:
    """A module of scikit-learn, or an error that says how to install it."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise ImportError(
            "This estimator runs scikit-learn. Received: no module `sklearn`. "
            "Install it by `pip install 'keras_univrep[few_shot]'`."
        ) from error


def fit_each(make: Callable[[], Any], x: Any, indices: np.ndarray) -> list[Any]:
    """A fitted classifier for each episode of x (episodes, samples, channels)."""
    features = as_array(x).astype("float64")
    return [make().fit(rows, labels) for rows, labels in zip(features, indices, strict=True)]


def answer_each(answer: str, classifiers: list[Any], x: Any) -> np.ndarray:
    """What a method of each classifier answers, (episodes, samples, classes)."""
    features = as_array(x).astype("float64")
    answers = [
        getattr(classifier, answer)(rows)
        for classifier, rows in zip(classifiers, features, strict=True)
    ]
    stacked = np.stack(answers)
    # Of two classes some methods answer for the second alone.
    return stacked if stacked.ndim == 3 else np.stack([-stacked, stacked], axis=-1)
