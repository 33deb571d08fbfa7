"""A weight for each of several extractors, learned on the support set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot import _adadelta
from keras_univrep.few_shot._checks import positive_number, whole_number
from keras_univrep.few_shot._compiled import run_compiled, run_light
from keras_univrep.few_shot._cosine_gradient import ABSENT
from keras_univrep.few_shot._episodes import ONE, Sets, class_means, read_features
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
                (samples, extractors, channels) or (episodes, samples, extractors, channels). For
                episodes of different sizes a list of arrays takes the place of an array.
            labels: (samples,) or (episodes, samples) or a list, integers or strings.

        Returns:
            The estimator itself, with `classes_`, and with `selection_` (extractors,) or
            (episodes, extractors) in the order of the mapping.

        Raises:
            ValueError: As every estimator, and if extractors differ in episodes or samples.
        """
        super().fit(features, labels)
        self.selection_ = self._selection[0] if self._form == ONE else self._selection
        return self

    def _read(self, name: str, features: Any) -> Sets:
        if not isinstance(features, Mapping):
            joined = read_features(name, features, rank=3)
            blocks = [joined.x[:, :, index] for index in range(joined.x.shape[2])]
            self._reading: tuple = tuple(range(len(blocks)))
            return Sets(blocks, joined.sizes, joined.form)
        if not features:
            raise ValueError(
                f"`{name}` must hold at least one extractor. Received: an empty mapping. "
                "Map the name of each extractor to its features."
            )
        read = {key: read_features(f"{name}[{key!r}]", x) for key, x in features.items()}
        sizes = {key: (own.form, own.sizes) for key, own in read.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "Extractors must have the same episodes and samples. Received: samples of each "
                f"episode {sizes}. Extract the same images by each."
            )
        self._reading = tuple(read)
        first = next(iter(read.values()))
        return Sets([own.x for own in read.values()], first.sizes, first.form)

    def _layout_of(self, sets: Sets) -> tuple[Any, ...]:
        return len(sets.sizes), self._reading, *(int(block.shape[-1]) for block in sets.x)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        ways = one_hot.any(axis=1).sum(axis=-1, keepdims=True)
        rates = 3000.0 / ways if self.learning_rate is None else ways * 0.0 + self.learning_rate
        self._centroids = run_light(_unit_means, [one_hot, *support.x])
        self._selection = run_compiled(
            _select,
            [one_hot, rates.astype("float32"), *self._centroids, *support.x],
            steps=self.steps,
            scale=self.scale,
            extractors=len(support.x),
        )

    def _answer(self, queries: Sets) -> Any:
        return run_light(
            _scores,
            [self._selection, *self._centroids, *queries.x],
            scale=self.scale,
            extractors=len(queries.x),
        )


def _unit_means(one_hot: Tensor, *blocks: Tensor) -> tuple[Tensor, ...]:
    """Class means of the unit features of each extractor, (episodes, classes, channels)."""
    return tuple(class_means(unit_vectors(block), one_hot) for block in blocks)


def _products(centroids: Sequence[Tensor], blocks: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Products of features and centroids, and of each with itself, by extractor (last axis)."""
    pairs = [(unit_vectors(x), own) for x, own in zip(blocks, centroids, strict=True)]
    mixed = [ops.matmul(x, ops.swapaxes(own, 1, 2)) for x, own in pairs]
    of_features = [ops.sum(ops.square(x), axis=-1) for x, _ in pairs]
    of_centroids = [ops.sum(ops.square(own), axis=-1) for _, own in pairs]
    return ops.stack(mixed, -1), ops.stack(of_features, -1), ops.stack(of_centroids, -1)


def _scores(selection: Tensor, *tensors: Tensor, scale: float, extractors: int) -> Tensor:
    """Scaled cosines of queries to class means, from `_unit_means` and the queries' features."""
    products = _products(tensors[:extractors], tensors[extractors:])
    return _logits(products, selection, scale)


def _logits(products: tuple[Tensor, ...], selection: Tensor, scale: float) -> Tensor:
    """Scaled cosines of the weighted concatenations.

    Args:
        products: What `_products` gave: of features and centroids, (episodes, samples, classes,
            extractors), and their squared norms, (episodes, samples or classes, extractors).
        selection: Weights, (episodes, extractors).
        scale: Factor of the cosine.

    Returns:
        Tensor of shape (episodes, samples, classes).
    """
    mixed, of_features, of_centroids = products
    # Relative to the largest: the cosine is the same, and no square underflows.
    weights = ops.square(selection / ops.max(selection, axis=-1, keepdims=True))[:, None]
    sums = ops.sum(mixed * weights[:, None], axis=-1)
    norms = ops.sum(of_features * weights, axis=-1)[:, :, None]
    norms = norms * ops.sum(of_centroids * weights, axis=-1)[:, None, :]
    return scale * sums * ops.rsqrt(ops.where(norms > 0.0, norms, ops.ones_like(norms)))


def _select(
    one_hot: Tensor, rate: Tensor, *tensors: Tensor, steps: int, scale: float, extractors: int
) -> Tensor:
    """The weights of the extractors of each episode, (episodes, extractors).

    Args:
        one_hot: (episodes, samples, classes).
        rate: Of Adadelta, (episodes, 1).
        *tensors: What `_unit_means` gave, then the features of each extractor.
        steps: Steps of Adadelta.
        scale: Factor of the cosine.
        extractors: Their number.
    """
    products = _products(tensors[:extractors], tensors[extractors:])
    # Samples of no class and classes of no sample are padding.
    absent = ops.all(one_hot == 0.0, axis=1, keepdims=True)
    shares = one_hot / ops.sum(one_hot, axis=(1, 2), keepdims=True)

    def loss(mu: Tensor) -> Tensor:
        logits = _logits(products, ops.sigmoid(mu), scale)
        return -ops.sum(shares * ops.log_softmax(ops.where(absent, ABSENT, logits), axis=-1))

    start = ops.zeros((ops.shape(one_hot)[0], extractors))
    return ops.sigmoid(_adadelta.minimize(loss, start, rate, steps))
