"""Float64 NumPy forms of the few-shot classifiers, one episode and one class at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def centroids(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of each class, in the order of the sorted labels."""
    return np.stack([x[labels == label].mean(axis=0) for label in np.unique(labels)])


def cosine_logits(queries: np.ndarray, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Ten times the cosine to each centroid."""
    return 10.0 * unit(queries) @ unit(centroids(x, labels)).T


def cross_entropy(logits: np.ndarray, indices: np.ndarray) -> float:
    """Mean of -log softmax at the right class."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_odds = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return float(-np.mean(log_odds[np.arange(len(indices)), indices]))


def mahalanobis(
    queries: np.ndarray, x: np.ndarray, labels: np.ndarray, released: bool = False
) -> np.ndarray:
    """Minus the squared distances of Simple CNAPS, (queries, classes)."""
    task = np.cov(x.T)
    columns = []
    for label in np.unique(labels):
        own = x[labels == label]
        weight = len(own) / (len(own) + 1)
        if len(own) > 1:
            spread = np.cov(own.T)
        else:
            spread = np.full_like(task, np.var(own[0], ddof=1) if released else 0.0)
        q = weight * spread + (1 - weight) * task + np.eye(x.shape[1])
        differences = queries - own.mean(axis=0)
        columns.append(-np.einsum("ni,ij,nj->n", differences, np.linalg.inv(q), differences))
    return np.stack(columns, axis=1)


def numeric_gradient(
    function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    """Central differences in float64."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(*at.shape):
        shift = np.zeros_like(at)
        shift[index] = step
        gradient[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return gradient


def adadelta(
    function: Callable[[np.ndarray], float], start: np.ndarray, rate: float, steps: int
) -> np.ndarray:
    """Zeiler's algorithm 1 with PyTorch's constants, times a learning rate."""
    values = start.astype("float64")
    squares, moves = np.zeros_like(values), np.zeros_like(values)
    for _ in range(steps):
        gradient = numeric_gradient(function, values)
        squares = 0.9 * squares + 0.1 * gradient**2
        move = np.sqrt(moves + 1e-6) / np.sqrt(squares + 1e-6) * gradient
        moves = 0.9 * moves + 0.1 * move**2
        values = values - rate * move
    return values


def episodes(
    count: int = 3, way: int = 3, shot: int = 4, channels: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Noisy classes: support (count, n, channels) and labels, then 6 queries each and labels."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, way, channels))
    sets = []
    for number in (way * shot, 6):
        labels = np.stack([rng.permutation(np.arange(number) % way) for _ in range(count)])
        noise = rng.normal(scale=0.7, size=(count, number, channels))
        sets += [np.take_along_axis(centres, labels[..., None], axis=1) + noise, labels]
    return sets[0], sets[1], sets[2], sets[3]
