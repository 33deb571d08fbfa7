"""Episodes of vectors, and float64 versions of what is computed on them."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

Episode = dict[str, np.ndarray]


def episode(
    seed: int, way: int = 3, shots: tuple[int, ...] = (2, 1, 3), queries: int = 4, channels: int = 3
) -> Episode:
    """Vectors about a random centre of each class; the classes are 0, 1, ..., len(shots) - 1."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(way, channels))
    support = np.repeat(np.arange(len(shots)), shots)
    query = rng.integers(0, len(shots), queries)

    def images(labels: np.ndarray) -> np.ndarray:
        noise = 0.5 * rng.normal(size=(len(labels), channels))
        return (centres[labels] + noise).astype("float32")

    return {
        "support_images": images(support),
        "support_labels": support.astype("int32"),
        "query_images": images(query),
        "query_labels": query.astype("int32"),
    }


def stack(*episodes: Episode) -> Episode:
    return {key: np.stack([one[key] for one in episodes]) for key in episodes[0]}


def padded(one: Episode, support: int, queries: int) -> Episode:
    """The episode with rows of other numbers behind, of label -1."""
    found = {}
    for part, size in (("support", support), ("query", queries)):
        images, labels = one[f"{part}_images"], one[f"{part}_labels"]
        extra = np.full((size - len(images), images.shape[1]), 7.0, "float32")
        found[f"{part}_images"] = np.concatenate([images, extra])
        found[f"{part}_labels"] = np.concatenate([labels, np.full(len(extra), -1, "int32")])
    return found


def linear_backbone(weight: np.ndarray) -> keras.Model:
    """Vectors times a matrix (channels, features)."""
    inputs = keras.Input((weight.shape[0],))
    layer = keras.layers.Dense(weight.shape[1], use_bias=False, name="linear")
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(weight.astype("float32"))
    return model


def means(features: np.ndarray, labels: np.ndarray, way: int) -> np.ndarray:
    """Class means (way, channels) in float64, zeros for classes without samples."""
    found = np.zeros((way, features.shape[1]))
    for k in range(way):
        if (labels == k).any():
            found[k] = features[labels == k].mean(0)
    return found


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the rows whose label is not -1."""
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    top = scores.max(-1, keepdims=True)
    log_odds = scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))
    return float(-log_odds[np.arange(len(labels)), labels].mean())


def differences(fn: Callable[[np.ndarray], float], x: np.ndarray, step: float) -> np.ndarray:
    """Gradient by central differences."""
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        grad[index] = (fn(x + shift) - fn(x - shift)) / (2 * step)
    return grad
