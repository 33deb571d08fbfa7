"""What goes into an estimator: features and labels of one episode, or of many of equal size."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.types import Tensor

LAYOUTS = {
    2: "(samples, channels)",
    3: "(samples, extractors, channels)",
    4: "(samples, height, width, channels)",
}


def read_features(name: str, features: Any, rank: int = 2) -> tuple[Tensor, bool]:
    """Features with an episode axis in front, and whether that axis had to be added.

    Args:
        name: What they are, for the message of an error.
        features: Array or tensor of `rank` axes, one more for many episodes.
        rank: Axes of the features of one episode, samples first.

    Returns:
        Float32 tensor (episodes, samples, ...) that nothing differentiates, and a flag.
    """
    # What can be done in NumPy is: on JAX an operation compiles anew for every shape.
    x = features
    if not isinstance(features, np.ndarray):
        x = ops.stop_gradient(ops.cast(ops.convert_to_tensor(features), "float32"))
    shape = tuple(x.shape)
    layout = LAYOUTS[rank]
    if len(shape) not in (rank, rank + 1) or 0 in shape:
        raise ValueError(
            f"`{name}` must be of shape {layout}, with an axis of episodes in front for many, and "
            f"not empty. Received: shape={shape}. Stack episodes of equal size, or call once each."
        )
    if not np.isfinite(as_array(x)).all():
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity among {shape} numbers. "
            "Look at the images and at the network that gave them."
        )
    single = len(shape) == rank
    return ops.convert_to_tensor(x[None] if single else x, dtype="float32"), single


def read_labels(labels: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels of each episode, and the place of each sample's label among them.

    Args:
        labels: Array, list or tensor of one label a sample: integers or strings, gaps allowed.
        shape: Episodes and samples, as in the features.

    Returns:
        Sorted labels (episodes, classes), and integers (episodes, samples).
    """
    y = ops.convert_to_numpy(labels) if ops.is_tensor(labels) else np.asarray(labels)
    if y.shape != shape and y.shape != shape[1:] * (shape[0] == 1):
        raise ValueError(
            "`labels` must hold one label for each sample of `features`. Received: labels of shape "
            f"{y.shape}, features of {shape[0]} episode(s) of {shape[1]} samples. "
            "Pass labels of shape (samples,), or (episodes, samples) for many episodes."
        )
    if y.dtype.kind not in "iubUS":
        raise ValueError(
            "`labels` must be integers or strings, not a distribution over classes. Received: "
            f"dtype={y.dtype}. Take the argmax of one-hot labels, or cast them to int."
        )
    found = [np.unique(row, return_inverse=True) for row in y.reshape(shape)]
    ways = sorted({len(classes) for classes, _ in found})
    if len(ways) > 1 or ways[0] < 2:
        raise ValueError(
            "Every episode must have two classes or more, and all of a batch equally many. "
            f"Received: episodes with {ways} classes. Batch episodes of equal way together."
        )
    return np.stack([classes for classes, _ in found]), np.stack([index for _, index in found])


def one_hot_of(indices: np.ndarray) -> Tensor:
    """Float32 (episodes, samples, classes) of class indices (episodes, samples)."""
    return ops.convert_to_tensor(np.eye(int(indices.max()) + 1, dtype="float32")[indices])


def class_means(x: Tensor, one_hot: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of the samples of each class.

    Args:
        x: (episodes, samples, channels).
        one_hot: (episodes, samples, classes).
        weights: (episodes, samples), or `None` for ones.

    Returns:
        Tensor of shape (episodes, classes, channels).
    """
    members = one_hot if weights is None else one_hot * weights[..., None]
    members = members / ops.sum(members, axis=1, keepdims=True)
    return ops.matmul(ops.swapaxes(members, 1, 2), x)


def as_array(x: Tensor) -> np.ndarray:
    """NumPy copy of a tensor."""
    return np.asarray(keras.ops.convert_to_numpy(x))
