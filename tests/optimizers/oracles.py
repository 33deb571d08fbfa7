"""PyTorch's SGD and Adam with L2 decay, in float64 NumPy, at a constant learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

Gradient = np.ndarray | Callable[[np.ndarray], np.ndarray]


def sgd(
    weight: np.ndarray,
    gradients: Iterable[Gradient],
    rate: float,
    l2: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> np.ndarray:
    """v = momentum v + g + l2 w; w = w - rate v."""
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        gradient = _at(gradient, weight) + l2 * weight
        velocity = momentum * velocity + gradient
        weight = weight - rate * (gradient + momentum * velocity if nesterov else velocity)
    return weight


def adam(
    weight: np.ndarray,
    gradients: Iterable[Gradient],
    rate: float,
    l2: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> np.ndarray:
    """Both moments see g + l2 w."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, start=1):
        gradient = _at(gradient, weight) + l2 * weight
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        corrected = np.sqrt(second / (1 - betas[1] ** step)) + epsilon
        weight = weight - rate / (1 - betas[0] ** step) * first / corrected
    return weight


def _at(gradient: Gradient, weight: np.ndarray) -> np.ndarray:
    return gradient(weight) if callable(gradient) else gradient
