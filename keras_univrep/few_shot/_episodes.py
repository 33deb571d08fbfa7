"""What goes into an estimator: features and labels of one episode, or of many."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.few_shot._compiled import padded_size
from keras_univrep.few_shot._cosine_gradient import shares_of
from keras_univrep.types import Tensor

LAYOUTS = {
    2: "(samples, channels)",
    3: "(samples, extractors, channels)",
    4: "(samples, height, width, channels)",
}
ONE, MANY, LIST = "one episode", "an axis of episodes", "a list of episodes"


@dataclasses.dataclass(frozen=True)
class Sets:
    """Support sets, or sets of queries, of episodes; zeros make them of one size.

    Args:
        x: Float32 tensor (episodes, samples, ...), or one for each of several extractors.
        sizes: Samples of each episode, without the zeros.
        form: How they came in: `ONE`, `MANY` or `LIST`.
    """

    x: Any
    sizes: tuple[int, ...]
    form: str

    @property
    def length(self) -> int:
        """Samples of an episode with the zeros."""
        return int((self.x[0] if isinstance(self.x, list) else self.x).shape[1])

    @property
    def present(self) -> np.ndarray:
        """One for a sample, zero for padding, (episodes, samples)."""
        return (np.arange(self.length) < np.array(self.sizes)[:, None]).astype("float32")


def read_features(name: str, features: Any, rank: int = 2) -> Sets:
    """Features with an episode axis in front.

    Args:
        name: What they are, for the message of an error.
        features: Array or tensor of `rank` axes, one more for many episodes; or a list of arrays or
            tensors of `rank` axes, which may differ in samples.
        rank: Axes of the features of one episode, samples first.

    Returns:
        Sets of float32 tensors that nothing differentiates.
    """
    if isinstance(features, (list, tuple)) and _are_episodes(features, rank):
        rows = [_checked(f"{name}[{i}]", x, (rank,)) for i, x in enumerate(features)]
        shapes = [tuple(x.shape) for x in rows]
        if len({shape[1:] for shape in shapes}) > 1:
            raise ValueError(
                f"The episodes of `{name}` may differ in samples only. Received: shapes {shapes}. "
                "Extract all of them by the same network."
            )
        sizes = tuple(shape[0] for shape in shapes)
        joined = np.zeros((len(rows), padded_size(max(sizes)), *shapes[0][1:]), "float32")
        for row, x in zip(joined, rows, strict=True):
            row[: len(x)] = as_array(x)
        return Sets(ops.convert_to_tensor(joined), sizes, LIST)
    x = _checked(name, features, (rank, rank + 1))
    form = ONE if len(x.shape) == rank else MANY
    x = x[None] if form == ONE else x
    episodes, size = (int(n) for n in x.shape[:2])
    missing = padded_size(size) - size
    if missing:
        # By NumPy: this is not to be compiled for every size either.
        x = np.pad(as_array(x), [(0, 0), (0, missing)] + [(0, 0)] * (rank - 1))
    return Sets(ops.convert_to_tensor(x, dtype="float32"), (size,) * episodes, form)


def _are_episodes(features: Any, rank: int) -> bool:
    return len(features) > 0 and all(len(getattr(x, "shape", ())) == rank for x in features)


def _checked(name: str, features: Any, ranks: tuple[int, ...]) -> Any:
    """An array, or a float32 tensor that nothing differentiates, of finite numbers."""
    # What can be done in NumPy is: on JAX an operation compiles anew for every shape.
    x = features
    if not isinstance(features, np.ndarray):
        x = ops.stop_gradient(ops.cast(ops.convert_to_tensor(features), "float32"))
    shape = tuple(x.shape)
    if len(shape) not in ranks or 0 in shape:
        raise ValueError(
            f"`{name}` must be of shape {LAYOUTS[ranks[0]]}, with an axis of episodes in front for "
            f"many, and not empty. Received: shape={shape}. Stack episodes of equal size, or pass "
            "a list of arrays, one for each episode."
        )
    if not np.isfinite(as_array(x)).all():
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity among {shape} numbers. "
            "Look at the images and at the network that gave them."
        )
    return x


def read_labels(labels: Any, sets: Sets) -> tuple[list[np.ndarray], np.ndarray]:
    """Distinct labels of each episode, and the place of each sample's label among them.

    Args:
        labels: Array, list or tensor of one label a sample: integers or strings, gaps allowed. A
            list of arrays for a list of episodes.
        sets: The features that they belong to.

    Returns:
        Sorted labels of each episode, and float32 ones (episodes, samples, classes) in the rows of
        samples; rows and columns of zeros are padding.
    """
    rows = rows_of("labels", labels, sets)
    for y in rows:
        if y.dtype.kind not in "iubUS":
            raise ValueError(
                "`labels` must be integers or strings, not a distribution over classes. Received: "
                f"dtype={y.dtype}. Take the argmax of one-hot labels, or cast them to int."
            )
    found = [np.unique(row, return_inverse=True) for row in rows]
    ways = sorted({len(classes) for classes, _ in found})
    if ways[0] < 2 or (len(ways) > 1 and sets.form != LIST):
        raise ValueError(
            "Every episode must have two classes or more, and all of an array equally many. "
            f"Received: episodes with {ways} classes. Pass a list of arrays, one for each episode."
        )
    one_hot = np.zeros((len(rows), sets.length, padded_size(ways[-1])), "float32")
    for row, (_, indices) in zip(one_hot, found, strict=True):
        row[np.arange(len(indices)), indices] = 1.0
    return [classes for classes, _ in found], one_hot


def rows_of(name: str, labels: Any, sets: Sets) -> list[np.ndarray]:
    """The labels of each episode, one for each of its samples."""
    if sets.form == LIST and isinstance(labels, (list, tuple)):
        rows = [_plain(y) for y in labels]
        if [y.shape for y in rows] == [(size,) for size in sets.sizes]:
            return rows
        came = f"shapes {[y.shape for y in rows]}"
    else:
        y, shape = _plain(labels), (len(sets.sizes), sets.sizes[0])
        if sets.form != LIST and y.shape in (shape, shape[1:] * (shape[0] == 1)):
            return list(y.reshape(shape))
        came = f"shape {y.shape}"
    raise ValueError(
        f"`{name}` must hold one label for each sample of its features. Received: labels of "
        f"{came}, features of {len(sets.sizes)} episode(s) of {sorted(set(sets.sizes))} samples. "
        "Pass labels of shape (samples,), (episodes, samples) for many episodes, or a list of "
        "labels for a list of features."
    )


def _plain(x: Any) -> np.ndarray:
    return as_array(x) if ops.is_tensor(x) else np.asarray(x)


def class_means(x: Tensor, one_hot: Tensor) -> Tensor:
    """Mean of the samples of each class.

    Args:
        x: (episodes, samples, channels).
        one_hot: (episodes, samples, classes); a class without samples has mean zero.

    Returns:
        Tensor of shape (episodes, classes, channels).
    """
    return ops.matmul(ops.swapaxes(shares_of(one_hot), 1, 2), x)


def as_array(x: Any) -> np.ndarray:
    """NumPy form of a tensor, or the array itself."""
    return x if isinstance(x, np.ndarray) else np.asarray(keras.ops.convert_to_numpy(x))
