"""The interface of every estimator: fit on support sets, then classify query sets."""

from __future__ import annotations

import abc
from typing import Any, TypeVar

import numpy as np

from keras_univrep.few_shot._episodes import (
    LIST,
    MANY,
    ONE,
    Sets,
    as_array,
    read_features,
    read_labels,
)

Classifier = TypeVar("Classifier", bound="EpisodicClassifier")


class EpisodicClassifier(abc.ABC):
    """A classifier of frozen features, for one episode or for many at once.

    A leaf says what it learns (`_learn`) and what it answers (`_answer`), always with an axis of
    episodes in front; what is checked, numbered, padded and taken apart is here. Zeros after the
    samples of an episode, and classes without a sample, must not change what a leaf answers for
    the others.
    """

    classes_: Any

    def fit(self: Classifier, features: Any, labels: Any) -> Classifier:
        """Learns from support sets.

        Args:
            features: (samples, channels), or (episodes, samples, channels); or, for episodes of
                different sizes, a list of arrays (samples, channels).
            labels: (samples,), (episodes, samples), or a list of arrays (samples,): integers or
                strings. They need not be contiguous: the classes of an episode are its distinct
                labels, sorted.

        Returns:
            The estimator itself, with `classes_` (classes,) or (episodes, classes), or a list.

        Raises:
            ValueError: If sizes differ, a number is not finite, an episode has one class, or
                episodes of an array have different numbers of classes.
        """
        support = self._read("features", features)
        classes, one_hot = read_labels(labels, support)
        self._learn(support, one_hot)
        self._layout = self._layout_of(support)
        self._form = support.form
        self._ways = [len(own) for own in classes]
        self.classes_ = _in_form(classes, support.form)
        return self

    def scores(self, features: Any) -> Any:
        """Logits of the classes, in the order of `classes_`.

        Args:
            features: Queries, (samples, channels), (episodes, samples, channels) or a list of
                arrays, as in `fit`.

        Returns:
            NumPy array (samples, classes) or (episodes, samples, classes), or a list of arrays
            (samples, classes).

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If episodes or channels are not those of `fit`.
        """
        if not hasattr(self, "classes_"):
            raise RuntimeError(
                f"`{type(self).__name__}` must be fitted first. Received: no support set. "
                "Call `fit(features, labels)`."
            )
        queries = self._read("features", features)
        layout = self._layout_of(queries)
        if layout != self._layout or queries.form != self._form:
            raise ValueError(
                "Queries must have the episodes and channels of the support set. Received: "
                f"{queries.form}, (episodes, ...channels)={layout} after fitting {self._form}, "
                f"{self._layout}. Fit anew, or give both sets the same leading axis."
            )
        answer = as_array(self._answer(queries))
        cut = [own[:size, :way] for own, size, way in zip(answer, queries.sizes, self._ways)]
        return _in_form(cut, self._form)

    def predict(self, features: Any) -> Any:
        """Labels of queries: of the highest score, the first of `classes_` in a tie.

        Args:
            features: As in `scores`.

        Returns:
            NumPy array of labels, (samples,) or (episodes, samples), or a list of arrays.
        """
        found = self.scores(features)
        if self._form == ONE:
            return self.classes_[found.argmax(-1)]
        labels = [own[rows.argmax(-1)] for own, rows in zip(self.classes_, found, strict=True)]
        return _in_form(labels, self._form)

    def predict_proba(self, features: Any) -> Any:
        """Softmax of the scores.

        Args:
            features: As in `scores`.

        Returns:
            NumPy array (samples, classes) or (episodes, samples, classes), or a list of arrays,
            whose rows sum to one.
        """
        found = self.scores(features)
        return [_softmax(rows) for rows in found] if self._form == LIST else _softmax(found)

    def _read(self, name: str, features: Any) -> Sets:
        """Features as `_learn` and `_answer` want them."""
        return read_features(name, features)

    def _layout_of(self, sets: Sets) -> tuple[Any, ...]:
        """What queries and support set have in common: episodes and channels."""
        return (int(sets.x.shape[0]), *(int(size) for size in sets.x.shape[2:]))

    @abc.abstractmethod
    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        """Takes features (episodes, samples, ...) and classes (episodes, samples, classes)."""

    @abc.abstractmethod
    def _answer(self, queries: Sets) -> Any:
        """Gives scores (episodes, queries, classes)."""


def _in_form(episodes: list[np.ndarray], form: str) -> Any:
    """What there is for each episode, in the form that the episodes came in."""
    if form == ONE:
        return episodes[0]
    return np.stack(episodes) if form == MANY else episodes


def _softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)
