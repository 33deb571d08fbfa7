"""The interface of every estimator: fit on support sets, then classify query sets."""

from __future__ import annotations

import abc
from typing import Any, TypeVar

import numpy as np

from keras_univrep.few_shot._episodes import as_array, read_features, read_labels
from keras_univrep.types import Tensor

Classifier = TypeVar("Classifier", bound="EpisodicClassifier")


class EpisodicClassifier(abc.ABC):
    """A classifier of frozen features, for one episode or for many at once.

    A leaf says what it learns (`_learn`) and what it answers (`_answer`), always with an axis of
    episodes in front; what is checked, numbered and taken apart is here.
    """

    classes_: np.ndarray

    def fit(self: Classifier, features: Any, labels: Any) -> Classifier:
        """Learns from support sets.

        Args:
            features: (samples, channels), or (episodes, samples, channels).
            labels: (samples,) or (episodes, samples), integers or strings. They need not be
                contiguous: the classes of an episode are its distinct labels, sorted.

        Returns:
            The estimator itself, with `classes_` (classes,) or (episodes, classes).

        Raises:
            ValueError: If sizes differ, a number is not finite, an episode has one class, or
                episodes of a batch have different numbers of classes.
        """
        x, shape, single = self._read("features", features)
        classes, indices = read_labels(labels, shape)
        self._learn(x, indices)
        self._layout = self._layout_of(x)
        self._single = single
        self.classes_ = classes[0] if single else classes
        return self

    def scores(self, features: Any) -> np.ndarray:
        """Logits of the classes, in the order of `classes_`.

        Args:
            features: Queries, (samples, channels) or (episodes, samples, channels) as in `fit`.

        Returns:
            NumPy array (samples, classes) or (episodes, samples, classes).

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If episodes or channels are not those of `fit`.
        """
        if not hasattr(self, "classes_"):
            raise RuntimeError(
                f"`{type(self).__name__}` must be fitted first. Received: no support set. "
                "Call `fit(features, labels)`."
            )
        x, _, single = self._read("features", features)
        layout = self._layout_of(x)
        if layout != self._layout or single != self._single:
            raise ValueError(
                "Queries must have the episodes and channels of the support set. Received: "
                f"(episodes, ...channels)={layout} after fitting {self._layout}. "
                "Fit anew, or give both sets the same leading axis."
            )
        answer = as_array(self._answer(x))
        return answer[0] if single else answer

    def predict(self, features: Any) -> np.ndarray:
        """Labels of queries: of the highest score, the first of `classes_` in a tie.

        Args:
            features: As in `scores`.

        Returns:
            NumPy array of labels, (samples,) or (episodes, samples).
        """
        best = self.scores(features).argmax(-1)
        return np.take_along_axis(self.classes_, best, axis=-1)

    def predict_proba(self, features: Any) -> np.ndarray:
        """Softmax of the scores.

        Args:
            features: As in `scores`.

        Returns:
            NumPy array (samples, classes) or (episodes, samples, classes) whose rows sum to one.
        """
        scores = self.scores(features)
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        return odds / odds.sum(-1, keepdims=True)

    def _read(self, name: str, features: Any) -> tuple[Any, tuple[int, int], bool]:
        """Features as `_learn` and `_answer` want them, (episodes, samples), and a flag."""
        x, single = read_features(name, features)
        return x, tuple(x.shape[:2]), single

    def _layout_of(self, x: Any) -> tuple[int, ...]:
        """What queries and support set have in common: episodes and channels."""
        return (int(x.shape[0]), *(int(size) for size in x.shape[2:]))

    @abc.abstractmethod
    def _learn(self, x: Any, indices: np.ndarray) -> None:
        """Takes features (episodes, samples, ...) and class indices (episodes, samples)."""

    @abc.abstractmethod
    def _answer(self, x: Any) -> Tensor:
        """Gives scores (episodes, queries, classes)."""
