"""The maps on which the released code of dense prediction was run once to get golden numbers."""

from __future__ import annotations

import numpy as np

from tests.golden_inputs import golden_map

CLASSES = 5


def golden_labels() -> tuple[np.ndarray, np.ndarray]:
    """Labels (2, 4, 6) in [-1, 5), and log-probabilities (2, 4, 6, 5)."""
    labels = (np.arange(48) * 7 % 6 - 1).reshape(2, 4, 6)
    logits = golden_map(0.37, (2, CLASSES, 4, 6))
    return labels, logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))


def golden_depths() -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions (2, 4, 6, 1) in metres; three pixels are void."""
    prediction, target = (golden_map(k, (2, 1, 4, 6)) + 2.0 for k in (0.41, 0.47))
    target[0, 0, :3] = 0.0
    return target, prediction


def golden_normals() -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions (2, 4, 6, 3) of unit length; one pixel of each image is void."""
    prediction, target = (golden_map(k, (2, 3, 4, 6)) for k in (0.61, 0.59))
    prediction, target = (
        x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (prediction, target)
    )
    target[:, 1, 2] = 0.0
    return target, prediction
