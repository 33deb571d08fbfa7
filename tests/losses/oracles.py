"""NumPy float64 forms of the losses, written from the papers' equations one term at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from keras import ops

from keras_univrep import backend


def unit(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Rows of length one."""
    return x / np.sqrt(np.sum(x**2, axis=axis, keepdims=True))


def lower_median_of_non_zero(distances: np.ndarray) -> float:
    """Element (n - 1) // 2 of the sorted non-zero entries."""
    entries = np.sort(distances[distances > 0])
    return float(entries[(entries.size - 1) // 2])


def cka(
    student: np.ndarray,
    teacher: np.ndarray,
    kernel: str = "rbf",
    normalize: bool = True,
    bandwidths: tuple[float, float] | None = None,
) -> float:
    """CKA by traces of explicit kernel and centring matrices (li2022 eq. 5)."""
    n = student.shape[0]
    centring = np.eye(n) - np.ones((n, n)) / n
    kernels = []
    for position, features in enumerate((student, teacher)):
        x = unit(features) if normalize else features
        if kernel == "linear":
            kernels.append(x @ x.T)
            continue
        distances = np.array([[np.sum((a - b) ** 2) for b in x] for a in x])
        width = lower_median_of_non_zero(distances) if bandwidths is None else bandwidths[position]
        kernels.append(np.exp(-distances / (2.0 * width)))
    p, t = kernels
    cross = np.trace(p @ centring @ t @ centring)
    return float(
        cross
        / math.sqrt(np.trace(p @ centring @ p @ centring) * np.trace(t @ centring @ t @ centring))
    )


def bandwidth(features: np.ndarray, normalize: bool = True) -> float:
    """Squared RBF bandwidth of one set of features."""
    x = unit(features) if normalize else features
    return lower_median_of_non_zero(np.sum((x[:, None] - x[None]) ** 2, axis=-1))


def kl(student: np.ndarray, teacher: np.ndarray, temperature: float) -> np.ndarray:
    """T^2 times the sum over classes of p log(p / q), one value per row of logits."""
    p, q = (np.exp(z / temperature) for z in (teacher, student))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return temperature**2 * np.sum(p * np.log(p / q), axis=-1)


def central_differences(
    function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Gradient of a scalar function of one array in float64."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(*at.shape):
        shift = np.zeros_like(at)
        shift[index] = step
        gradient[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return gradient


def student_gradient(
    loss: Callable[..., object], teacher: np.ndarray, student: np.ndarray
) -> np.ndarray:
    """Gradient of `loss(teacher, student)` with respect to the student, on the running backend."""
    fixed = ops.convert_to_tensor(teacher, dtype="float32")
    start = ops.convert_to_tensor(student, dtype="float32")
    _, (gradient,) = backend.value_and_grad(lambda values: (loss(fixed, values[0]), ()), [start])
    return ops.convert_to_numpy(gradient)
