"""A trained episodic model as a classifier that is fitted and asked."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.models.episodic_model import EpisodicModel


class EpisodeClassifier:
    """Classifies images after the support set that it was given, by an `EpisodicModel`.

    It is what `evaluation.evaluate_episodes` asks for, with images in place of features: `fit`
    keeps the support set, and `predict` runs the model on it and the queries.

    Args:
        model: A trained model.

    Raises:
        ValueError: By `fit`, if an episode has more classes than the model's `way`, or labels and
            images do not match.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet18
        >>> from keras_univrep.models import CNAPS, EpisodeClassifier
        >>> model = CNAPS(ResNet18(width=0.125), way=5, head="mahalanobis", filters=8, blocks=2)
        >>> images = np.random.default_rng(0).normal(size=(6, 16, 16, 3)).astype("float32")
        >>> labels = np.array(["cat", "dog", "cat", "dog", "cat", "dog"])
        >>> classifier = EpisodeClassifier(model).fit(images, labels)
        >>> [str(label) for label in classifier.predict(images[:2])]
        ['cat', 'dog']
    """

    classes_: np.ndarray

    def __init__(self, model: EpisodicModel) -> None:
        self.model = model

    def fit(self, images: Any, labels: Any) -> EpisodeClassifier:
        """Takes the support sets.

        Args:
            images: (samples, ...), or (episodes, samples, ...).
            labels: (samples,) or (episodes, samples), integers or strings, with gaps or without.

        Returns:
            The classifier itself, with `classes_`: the sorted labels of all episodes.

        Raises:
            ValueError: As above.
        """
        names = ops.convert_to_numpy(labels) if ops.is_tensor(labels) else np.asarray(labels)
        if names.ndim not in (1, 2) or tuple(images.shape[: names.ndim]) != names.shape:
            raise ValueError(
                "`labels` must hold one label for each image of the support set. Received: labels "
                f"of shape {names.shape}, images of shape {tuple(images.shape)}. Pass (samples,) "
                "labels, or (episodes, samples) for many episodes."
            )
        # Each episode counts its own classes, whatever the others have.
        rows = [np.unique(row, return_inverse=True) for row in np.atleast_2d(names)]
        most = max(len(classes) for classes, _ in rows)
        if most > self.model.way:
            raise ValueError(
                f"An episode must have at most the model's way={self.model.way} classes. Received: "
                f"{most}. Build the model with a larger `way`."
            )
        self.classes_ = np.unique(names)
        self._names = [classes for classes, _ in rows]
        indices = np.stack([index for _, index in rows]).astype("int32")
        self._single = names.ndim == 1
        # Always with the axis of episodes: TensorFlow's graph knows no rank that has changed
        # between calls.
        self._support = {
            "support_images": images[None] if self._single else images,
            "support_labels": indices,
        }
        return self

    def scores(self, images: Any) -> np.ndarray:
        """Logits of the model for the queries.

        Args:
            images: Queries, (samples, ...), or (episodes, samples, ...) as in `fit`.

        Returns:
            NumPy array (samples, way) or (episodes, samples, way): the classes of an episode in
            sorted order, then those that it lacks.

        Raises:
            RuntimeError: Before `fit`.
        """
        if not hasattr(self, "_support"):
            raise RuntimeError(
                "`EpisodeClassifier` must be fitted first. Received: no support set. "
                "Call `fit(images, labels)`."
            )
        queries = images[None] if self._single else images
        scores = self.model.predict_on_batch({**self._support, "query_images": queries})
        return np.asarray(scores[0] if self._single else scores)

    def predict(self, images: Any) -> np.ndarray:
        """Labels of queries.

        Args:
            images: As in `scores`.

        Returns:
            NumPy array of labels, (samples,) or (episodes, samples).
        """
        best = self.scores(images).argmax(axis=-1)
        found = [names[row] for names, row in zip(self._names, np.atleast_2d(best))]
        return np.stack(found).reshape(best.shape)
