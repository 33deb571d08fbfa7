"""Attention over the samples of tasks, in float64."""

from __future__ import annotations

import numpy as np

Weights = dict[str, np.ndarray]


def pooled(x: np.ndarray, tokens: np.ndarray, weights: Weights, mask: np.ndarray) -> np.ndarray:
    """Mean over samples of what the layers of attention make, (tasks, units)."""
    found = []
    for one, labels, counts in zip(x, tokens, mask):
        h = np.concatenate([one, labels], axis=-1)[counts]
        number = 1
        while f"attention/projection{number}/kernel" in weights:
            qkv = h @ weights[f"attention/projection{number}/kernel"]
            q, k, v = np.split(qkv, 3, axis=-1)
            scores = q @ k.T / np.sqrt(q.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            h = np.maximum(shares @ v, 0)
            number += 1
        found.append(h.mean(0))
    return np.array(found)


def encoded_maps(y: np.ndarray, weights: Weights) -> np.ndarray:
    """Three blocks of convolution, ReLU and 2x2 maximum; the mean over positions."""
    x = y
    for number in (1, 2, 3):
        kernel = weights[f"attention/labels/convolution{number}/kernel"]
        bias = weights[f"attention/labels/convolution{number}/bias"]
        padded = np.pad(x, [(0, 0)] * 2 + [(1, 1)] * 2 + [(0, 0)])
        height, width = x.shape[2:4]
        z = bias + sum(
            padded[:, :, i : i + height, j : j + width] @ kernel[i, j]
            for i in range(3)
            for j in range(3)
        )
        z = np.maximum(z, 0)[:, :, : height // 2 * 2, : width // 2 * 2]
        z = z.reshape(*z.shape[:2], height // 2, 2, width // 2, 2, z.shape[-1])
        x = z.max((3, 5))
    return x.mean((2, 3))
