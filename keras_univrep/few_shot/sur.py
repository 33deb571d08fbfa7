"""A weight for each of several extractors, learned on the support set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot import _adadelta
from keras_univrep.few_shot._checks import positive_number, whole_number
from keras_univrep.few_shot._compiled import padded, run_compiled
from keras_univrep.few_shot._episodes import class_means, one_hot_of, read_features
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._similarity import unit_vectors
from keras_univrep.types import Tensor


class SUR(EpisodicClassifier):
    """Selects among the features of several extractors, then classifies by the nearest centroid.

    Equation:
        SUR, compared with in li2022 table 7, from mu = 0:

            g(x) = [lambda_1 f_1(x) / ||f_1(x)||, ..., lambda_m f_m(x) / ||f_m(x)||]
            lambda = sigmoid(mu),   min_mu  1/|S| sum_{(x, y) in S} ce(NCC(g(x)), y)

        | symbol | here | shape |
        |---|---|---|
        | f_i | `features`, of extractor i | (episodes, samples, channels) |
        | lambda | `selection_` | (episodes, extractors) |
        | NCC | `scale` times the cosine to the class means of g | (episodes, samples, classes) |

    Differences:
        As released: Adadelta (rho 0.9, epsilon 1e-6), 40 steps, learning rate 3000 over the number
        of classes. The scale of the cosine is that of li2022; the released one was not checked.
        The blocks of g are not formed: their inner products with the class means are taken once,
        and a step works on those.

    Args:
        learning_rate: Rate of Adadelta, or `None` for 3000 over the number of classes.
        steps: Steps of Adadelta.
        scale: Factor of the cosine.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If an argument is no number.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import SUR
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1], 6)
        >>> signal = np.eye(2)[labels] + 0.1 * rng.normal(size=(12, 2))
        >>> features = {"photo": rng.normal(size=(12, 5)), "sketch": signal}
        >>> selection = SUR().fit(features, labels).selection_
        >>> bool(selection[1] > selection[0])
        True

    References:
        - Dvornik, Schmid, Mairal. Selecting relevant features from a multi-domain representation
          for few-shot classification. 2020.
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """

    selection_: np.ndarray

    def __init__(
        self, learning_rate: float | None = None, steps: int = 40, scale: float = 10.0
    ) -> None:
        if learning_rate is not None:
            positive_number("learning_rate", learning_rate)
        self.learning_rate = learning_rate
        self.steps = whole_number("steps", steps, 0)
        self.scale = positive_number("scale", scale)

    def fit(self, features: Any, labels: Any) -> SUR:
        """Learns from support sets.

        Args:
            features: A mapping from the name of each extractor to its features, (samples,
                channels) or (episodes, samples, channels), whose channels may differ; or an array
                (samples, extractors, channels) or (episodes, samples, extractors, channels).
            labels: (samples,) or (episodes, samples), integers or strings.

        Returns:
            The estimator itself, with `classes_`, and with `selection_` (extractors,) or
            (episodes, extractors) in the order of the mapping.

        Raises:
            ValueError: As every estimator, and if extractors differ in episodes or samples.
        """
        super().fit(features, labels)
        self.selection_ = self._selection[0] if self._single else self._selection
        return self

    def _read(self, name: str, features: Any) -> tuple[Any, tuple[int, int], bool]:
        if not isinstance(features, Mapping):
            x, single = read_features(name, features, rank=3)
            blocks = [x[:, :, index] for index in range(x.shape[2])]
            names: tuple = tuple(range(len(blocks)))
        else:
            if not features:
                raise ValueError(
                    f"`{name}` must hold at least one extractor. Received: an empty mapping. "
                    "Map the name of each extractor to its features."
                )
            read = {key: read_features(f"{name}[{key!r}]", x) for key, x in features.items()}
            names, blocks = tuple(read), [x for x, _ in read.values()]
            single = all(flag for _, flag in read.values())
            shapes = {key: tuple(x.shape) for key, (x, _) in read.items()}
            if len({(shape[:2], read[key][1]) for key, shape in shapes.items()}) > 1:
                raise ValueError(
                    "Extractors must have the same episodes and samples. Received: "
                    f"(episodes, samples, channels) of {shapes}. Extract the same images by each."
                )
        self._reading = names
        return [unit_vectors(block) for block in blocks], tuple(blocks[0].shape[:2]), single

    def _layout_of(self, x: Any) -> tuple:
        return (int(x[0].shape[0]), self._reading, *(int(block.shape[-1]) for block in x))

    def _learn(self, x: Any, indices: np.ndarray) -> None:
        one_hot = one_hot_of(indices)
        self._centroids = [class_means(block, one_hot) for block in x]
        rate = self.learning_rate or 3000.0 / one_hot.shape[-1]
        mixed, of_features, of_centroids = self._products(x)
        self._selection = run_compiled(
            _select,
            [
                padded(mixed, 1, 2),
                padded(of_features, 1),
                padded(of_centroids, 1),
                padded(one_hot, 1, 2),
                ops.convert_to_tensor(np.full((len(indices), 1), rate, "float32")),
            ],
            steps=self.steps,
            scale=self.scale,
            extractors=len(x),
        )

    def _answer(self, x: Any) -> Tensor:
        selection = ops.convert_to_tensor(self._selection)
        return _logits(*self._products(x), selection, self.scale)

    def _products(self, x: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Products of features and centroids, and of each with itself, by extractor (last axis)."""
        pairs = list(zip(x, self._centroids, strict=True))
        mixed = [ops.matmul(block, ops.swapaxes(centroid, 1, 2)) for block, centroid in pairs]
        of_features = [ops.sum(ops.square(block), axis=-1) for block, _ in pairs]
        of_centroids = [ops.sum(ops.square(centroid), axis=-1) for _, centroid in pairs]
        return ops.stack(mixed, -1), ops.stack(of_features, -1), ops.stack(of_centroids, -1)


def _logits(
    mixed: Tensor, of_features: Tensor, of_centroids: Tensor, selection: Tensor, scale: float
) -> Tensor:
    """Scaled cosines of the weighted concatenations.

    Args:
        mixed: Products of features and centroids, (episodes, samples, classes, extractors).
        of_features: Squared norms, (episodes, samples, extractors).
        of_centroids: Squared norms, (episodes, classes, extractors).
        selection: Weights, (episodes, extractors).
        scale: Factor of the cosine.

    Returns:
        Tensor of shape (episodes, samples, classes).
    """
    # Relative to the largest: the cosine is the same, and no square underflows.
    weights = ops.square(selection / ops.max(selection, axis=-1, keepdims=True))[:, None]
    products = ops.sum(mixed * weights[:, None], axis=-1)
    norms = ops.sum(of_features * weights, axis=-1)[:, :, None]
    norms = norms * ops.sum(of_centroids * weights, axis=-1)[:, None, :]
    return scale * products * ops.rsqrt(ops.where(norms > 0.0, norms, ops.ones_like(norms)))


def _select(
    mixed: Tensor,
    of_features: Tensor,
    of_centroids: Tensor,
    one_hot: Tensor,
    rate: Tensor,
    steps: int,
    scale: float,
    extractors: int,
) -> Tensor:
    """The weights of the extractors of each episode, (episodes, extractors)."""

    # Samples of no class and classes of no sample are padding.
    absent = ops.all(one_hot == 0.0, axis=1, keepdims=True)
    shares = one_hot / ops.sum(one_hot, axis=(1, 2), keepdims=True)

    def loss(mu: Tensor) -> Tensor:
        logits = _logits(mixed, of_features, of_centroids, ops.sigmoid(mu), scale)
        return -ops.sum(shares * ops.log_softmax(ops.where(absent, -1e9, logits), axis=-1))

    start = ops.zeros((ops.shape(mixed)[0], extractors))
    return ops.sigmoid(_adadelta.minimize(loss, start, rate, steps))
