"""The attention over extractors of URT, and its loss on an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.few_shot._compiled import COMPILES_SHAPES
from keras_univrep.few_shot._cosine_gradient import ABSENT, shares_of
from keras_univrep.few_shot._similarity import cosine, unit_vectors
from keras_univrep.types import Tensor


class TransformerHeads(keras.Model):
    """Gives the loss of each episode from its support set and its queries.

    Args:
        sizes: Extractors and channels.
        heads: Number of heads.
        units: Length of queries and keys.
        penalty: Weight of ||A A' - I||_F^2.
        seed: Of the first weights.
    """

    def __init__(
        self, sizes: tuple[int, ...], heads: int, units: int, penalty: float, seed: int
    ) -> None:
        super().__init__(dtype="float32")
        self.sizes, self.penalty = tuple(sizes), penalty
        extractors, channels = sizes
        self.query, self.key = (
            self.add_weight(
                shape=(heads, rows, units),
                initializer=keras.initializers.RandomNormal(stddev=0.001, seed=seed + number),
                name=name,
            )
            for number, (name, rows) in enumerate(
                (("query", extractors * channels), ("key", channels))
            )
        )
        self.temperature = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(10.0), name="temperature"
        )
        self.decay = 0.0
        self.built = True

    def prepare(self, learning_rate: float, weight_decay: float, steps: int) -> None:
        """Compiles with Adam, whose rate falls along a cosine to zero."""
        self.decay = weight_decay
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        self.compile(
            keras.optimizers.Adam(schedule, epsilon=1e-8),
            loss=lambda _, losses: ops.mean(losses),
            jit_compile=COMPILES_SHAPES,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of the weights, by name."""
        return {v.name: np.array(ops.convert_to_numpy(v)) for v in self.trainable_variables}

    def assign(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Sets the weights."""
        for variable in self.trainable_variables:
            variable.assign(arrays[variable.name])

    def call(self, inputs: Sequence[Tensor]) -> Any:
        x, one_hot, queries, query_one_hot = inputs
        selection, means = attend(x, one_hot, self.query, self.key)
        logits = self.temperature * cosine(weighted(queries, selection), means)
        absent = ops.all(one_hot == 0.0, axis=1, keepdims=True)
        log_odds = ops.log_softmax(ops.where(absent, ABSENT, logits), axis=-1)
        # Padded queries are of no class.
        losses = -ops.sum(query_one_hot * log_odds, axis=(1, 2)) / ops.sum(
            query_one_hot, axis=(1, 2)
        )
        overlap = ops.matmul(selection, ops.swapaxes(selection, 1, 2))
        excess = ops.sum(ops.square(overlap - ops.eye(overlap.shape[-1])), axis=(1, 2))
        squares = sum(ops.sum(ops.square(v)) for v in (self.query, self.key, self.temperature))
        return losses + self.penalty * excess + 0.5 * self.decay * squares


def attend(x: Tensor, one_hot: Tensor, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the extractors, and the class means of g.

    Args:
        x: (episodes, samples, extractors, channels).
        one_hot: (episodes, samples, classes); a class without samples takes no part.
        query: W_q, (heads, extractors * channels, units).
        key: W_k, (heads, channels, units).

    Returns:
        A, (episodes, heads, extractors), whose rows sum to one, and means (episodes, classes,
        heads * channels).
    """
    means = ops.einsum("enj,enic->ejic", shares_of(one_hot), unit_vectors(x))
    joined = ops.reshape(means, (*ops.shape(means)[:2], query.shape[1]))
    queries = ops.einsum("ejr,hru->ehju", joined, query)
    # The product with W_k from the side of the queries, which are fewer than the keys.
    reading = ops.einsum("ehju,hcu->ehjc", queries, key)
    beta = ops.einsum("ehjc,ejic->ehji", reading, means) / key.shape[1] ** 0.5
    present = ops.cast(ops.any(one_hot > 0.0, axis=1), "float32")
    present = present / ops.sum(present, axis=-1, keepdims=True)
    selection = ops.einsum("ehji,ej->ehi", ops.softmax(beta, axis=-1), present)
    # A mean of the weighted is the weighted mean.
    return selection, _joined(ops.einsum("ehi,ejic->ejhc", selection, means))


def weighted(x: Tensor, selection: Tensor) -> Tensor:
    """g of all heads, (episodes, samples, heads * channels), from (..., extractors, channels)."""
    return _joined(ops.einsum("ehi,enic->enhc", selection, unit_vectors(x)))


def _joined(parts: Tensor) -> Tensor:
    """The last two axes as one."""
    return ops.reshape(parts, (*ops.shape(parts)[:2], parts.shape[2] * parts.shape[3]))
