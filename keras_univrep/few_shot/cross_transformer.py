"""Prototypes that each query lays out for itself, place by place, by attention."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot._checks import positive_number, whole_number
from keras_univrep.few_shot._episodes import Sets, as_array, read_features
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.types import Tensor


class CrossTransformer(EpisodicClassifier):
    """Compares feature maps with prototypes that attention aligns with the query.

    Equation:
        CrossTransformers, with the places m of all samples of class j as one set:

            a_pm = softmax_m(<K f_q(p), K f_s(m)> / tau),   t_j(p) = sum_m a_pm V f_s(m)
            logit_j = -1/P sum_p ||t_j(p) - V f_q(p)||^2

        | symbol | here | shape |
        |---|---|---|
        | f_s, f_q | `features` | (episodes, samples, height, width, channels) |
        | P | height times width | scalar |
        | K, V | `key`, `value`, applied as f K | (channels, units) |
        | tau | `temperature` | scalar |

    Differences:
        The paper learns K and V with the network; here they are given, and by default the identity,
        so that universal features are compared as they are. As in the paper one K serves queries
        and support set.

    Args:
        key: Array (channels, units), or `None` for the identity.
        value: Array (channels, units), or `None` for the identity.
        temperature: Divisor of the products, or `None` for the root of the units of K.
        query_batch_size: Queries at a time. The attention of one takes samples times (height times
            width) squared numbers.

    Raises:
        ValueError: If an argument is out of its range or of the wrong shape.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import CrossTransformer
        >>> rng = np.random.default_rng(0)
        >>> corner, edge = rng.normal(size=(2, 3, 3, 4))
        >>> support = np.stack([corner, edge])
        >>> classifier = CrossTransformer(temperature=0.1).fit(support, ["corner", "edge"])
        >>> [str(label) for label in classifier.predict(support[:, ::-1])]  # upside down
        ['corner', 'edge']

    References:
        - Doersch, Gupta, Zisserman. CrossTransformers: spatially-aware few-shot transfer. 2020.
    """

    def __init__(
        self,
        key: Any = None,
        value: Any = None,
        temperature: float | None = None,
        query_batch_size: int = 16,
    ) -> None:
        self.key, self.value = _matrix("key", key), _matrix("value", value)
        self.temperature = (
            None if temperature is None else positive_number("temperature", temperature)
        )
        self.query_batch_size = whole_number("query_batch_size", query_batch_size, 1)

    def _read(self, name: str, features: Any) -> Sets:
        found = read_features(name, features, rank=4)
        for matrix in (self.key, self.value):
            if matrix is not None and matrix.shape[0] != found.x.shape[-1]:
                raise ValueError(
                    "`key` and `value` must have a row for each channel. Received: shape="
                    f"{tuple(matrix.shape)} for {found.x.shape[-1]} channels. Pass (channels, "
                    "units)."
                )
        return found

    def _layout_of(self, sets: Sets) -> tuple[int, ...]:
        # The support set and the queries may be of different height and width.
        return int(sets.x.shape[0]), int(sets.x.shape[-1])

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        x = support.x
        places = _places(x)
        # Of shape (episodes, 1, samples times places, classes).
        members = np.repeat(one_hot, places.shape[2], axis=1)[:, None] > 0.0
        # A class that an episode has not is compared with all, for finite numbers; they are cut.
        members |= ~members.any(axis=2, keepdims=True)
        self._members = ops.convert_to_tensor(members)
        flat = ops.reshape(places, (x.shape[0], -1, x.shape[-1]))
        self._keys, self._values = _mapped(flat, self.key), _mapped(flat, self.value)

    def _answer(self, queries: Sets) -> np.ndarray:
        x, size = queries.x, self.query_batch_size
        parts = [
            as_array(self._scores(_places(x[:, first : first + size])))
            for first in range(0, x.shape[1], size)
        ]
        return np.concatenate(parts, axis=1)

    def _scores(self, x: Tensor) -> Tensor:
        """Scores (episodes, queries, classes) of places (episodes, queries, places, channels)."""
        episodes, queries, places, channels = x.shape
        flat = ops.reshape(x, (episodes, queries * places, channels))
        keys, values = _mapped(flat, self.key), _mapped(flat, self.value)
        tau = self.temperature or float(keys.shape[-1]) ** 0.5
        products = ops.matmul(keys, ops.swapaxes(self._keys, 1, 2)) / tau
        columns = []
        for index in range(self._members.shape[-1]):
            of_class = ops.where(self._members[..., index], products, -np.inf)
            aligned = ops.matmul(ops.softmax(of_class, axis=-1), self._values)
            squares = ops.sum(ops.square(aligned - values), axis=-1)
            columns.append(-ops.mean(ops.reshape(squares, (episodes, queries, places)), axis=-1))
        return ops.stack(columns, axis=-1)


def _matrix(name: str, value: Any) -> Tensor | None:
    """A float32 matrix, or nothing."""
    if value is None:
        return None
    matrix = ops.convert_to_tensor(value, dtype="float32")
    if len(matrix.shape) != 2 or 0 in matrix.shape:
        raise ValueError(
            f"`{name}` must be of shape (channels, units). Received: shape={tuple(matrix.shape)}. "
            "Pass a matrix, or `None` for the identity."
        )
    return matrix


def _mapped(x: Tensor, matrix: Tensor | None) -> Tensor:
    return x if matrix is None else ops.matmul(x, matrix)


def _places(x: Tensor) -> Tensor:
    """Maps with height and width as one axis: (episodes, samples, places, channels)."""
    return ops.reshape(x, (*x.shape[:2], -1, x.shape[-1]))
