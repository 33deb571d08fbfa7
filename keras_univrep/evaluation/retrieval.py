"""Retrieval: is a sample of the same class among the nearest?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

METRICS = ("cosine", "euclidean")


def recall_at_k(
    features: Any,
    labels: Any,
    k: Sequence[int] = (1, 2, 4, 8),
    metric: str = "cosine",
    block: int = 1024,
) -> dict[int, float]:
    """Returns how often one of the k nearest other samples is of the same class.

    Equation:
        li2022 section 5.4, global retrieval, tables 8, 18 and 19:

            recall_k = 1/n sum_i 1[y_j = y_i for some j among the k nearest of i, j != i]

        | symbol | here | shape |
        |---|---|---|
        | y | `labels` | (n,) |

    Differences:
        The paper does not say which distance. A sample of another class at exactly the same
        distance counts as nearer, so that features that are all equal get nothing; a sample whose
        class has no other never counts as found.

    Args:
        features: (samples, channels), of a whole test set.
        labels: (samples,), integers or strings.
        k: Numbers of neighbours.
        metric: `"cosine"` or `"euclidean"`.
        block: Samples whose neighbours are sought at a time: memory for `block` times `samples`
            distances.

    Returns:
        Recall in per cent for each entry of `k`.

    Raises:
        ValueError: If shapes do not match, a number is not finite, or an argument is unknown.

    Example:
        >>> from keras_univrep.evaluation import recall_at_k
        >>> recall_at_k(np.array([[0.0], [1.0], [1.5], [9.0]]), [0, 0, 1, 1], (1, 2), "euclidean")
        {1: 50.0, 2: 75.0}

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """
    x = ops.stop_gradient(ops.cast(ops.convert_to_tensor(features), "float32"))
    y = ops.convert_to_numpy(labels) if ops.is_tensor(labels) else np.asarray(labels)
    _check(x, y, k, metric, block)
    n = len(y)
    classes = np.unique(y, return_inverse=True)[1].astype("int32")
    if metric == "cosine":
        squared = ops.sum(ops.square(x), axis=1, keepdims=True)
        x = x * ops.rsqrt(ops.where(squared > 0.0, squared, ops.ones_like(squared)))
    else:
        x = x - ops.mean(x, axis=0)
    # Half the squared norms: what is compared is minus half the squared distance, up to a term
    # that all neighbours of one sample share. Of unit vectors it is the cosine.
    half = 0.5 * ops.sum(ops.square(x), axis=1) if metric == "euclidean" else ops.zeros((n,))
    ranks = []
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n))
        nearness = ops.matmul(x[start : start + block], ops.transpose(x)) - half
        same = classes[rows, None] == classes
        other = ops.convert_to_tensor(~same)
        same[rows - start, rows] = False
        found = ops.where(ops.convert_to_tensor(same), nearness, -np.inf)
        nearest = ops.max(found, axis=1, keepdims=True)
        nearer = ops.logical_and(other, nearness >= nearest)
        count = ops.convert_to_numpy(ops.sum(ops.cast(nearer, "int32"), axis=1))
        ranks.append(np.where(same.any(axis=1), count, np.inf))
    rank = np.concatenate(ranks)
    return {int(number): 100.0 * float(np.mean(rank < number)) for number in k}  # li2022 table 8


def _check(x: Any, y: np.ndarray, k: Sequence[int], metric: str, block: int) -> None:
    shape = tuple(x.shape)
    if len(shape) != 2 or y.shape != shape[:1] or len(y) < 2:
        raise ValueError(
            "`features` must be (samples, channels) and `labels` (samples,), of two samples or "
            f"more. Received: features of shape {shape}, labels of shape {y.shape}. "
            "Flatten maps or average them first."
        )
    if not bool(ops.convert_to_numpy(ops.all(ops.isfinite(x)))):
        raise ValueError(
            f"`features` must be finite. Received: NaN or infinity among {shape} numbers. "
            "Look at the images and at the network that gave them."
        )
    if metric not in METRICS:
        raise ValueError(
            f"`metric` must be one of {list(METRICS)}. Received: metric={metric!r}. "
            "Pass one of these names."
        )
    if not k or min(k) < 1 or block < 1:
        raise ValueError(
            "`k` must hold positive integers, and `block` be one. Received: "
            f"k={tuple(k)}, block={block}. Pass k=(1, 2, 4, 8), block=1024."
        )
