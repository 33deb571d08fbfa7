"""Gradients to balance, and float64 answers, from the papers by NumPy and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import optimize

# The matrix, and the losses, on which released code was run once to get golden numbers.
GOLDEN = np.array([[1, 0.5, -0.2, 0.3], [-0.6, 0.8, 0.4, -0.1], [0.2, -1, 0.9, 0.7]])
GOLDEN_LOSSES = np.array([1.2, 0.4, 2.5])
# The two gradients of which TorchJD's tests print the combinations.
PAIR = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])


def conflicting(tasks: int, size: int = 12, seed: int = 0) -> np.ndarray:
    """Gradients of which many point against each other, of lengths over three decades."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(tasks, size)) - 0.3 * np.arange(tasks)[:, None] + 0.3
    return gradients * 10.0 ** np.linspace(-1, 2, tasks)[:, None]


def pcgrad(gradients: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Sum of the projected gradients, the others in the order of row i of `order` (yu2020)."""
    total = np.zeros(gradients.shape[1])
    for i, others in enumerate(order):
        g = gradients[i].copy()
        for j in others:
            product = g @ gradients[j]
            if product < 0:
                g -= product / (gradients[j] @ gradients[j]) * gradients[j]
        total += g
    return total


def pcgrad_results(gradients: np.ndarray) -> np.ndarray:
    """What PCGrad may give, one row for each choice of all orders."""
    orders = list(itertools.permutations(range(len(gradients))))
    choices = itertools.product(orders, repeat=len(gradients))
    return np.array([pcgrad(gradients, np.array(choice)) for choice in choices])


def _on_simplex(objective, gradient, tasks: int) -> np.ndarray:
    """Best of SLSQP from the middle and from near every corner."""
    starts = [np.full(tasks, 1 / tasks), *(0.9 * np.eye(tasks) + 0.1 / tasks)]
    results = [
        optimize.minimize(
            objective,
            start,
            jac=gradient,
            bounds=[(0, 1)] * tasks,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        for start in starts
    ]
    return min(results, key=lambda result: result.fun).x


def min_norm(gradients: np.ndarray) -> np.ndarray:
    """Weights of the shortest vector in the hull (sener2018 eq. 3)."""
    gram = gradients @ gradients.T
    gram = gram / gram.max()
    return _on_simplex(lambda w: w @ gram @ w, lambda w: 2 * gram @ w, len(gram))


def cagrad(gradients: np.ndarray, c: float) -> np.ndarray:
    """The vector d of liu2021b, algorithm 1, without rescaling."""
    mean = gradients.mean(axis=0)
    scale = np.linalg.norm(mean)
    gram = gradients @ gradients.T / scale**2
    along = gradients @ mean / scale**2

    def objective(w: np.ndarray) -> float:
        return along @ w + c * np.sqrt(w @ gram @ w + 1e-18)

    def slope(w: np.ndarray) -> np.ndarray:
        return along + c * gram @ w / np.sqrt(w @ gram @ w + 1e-18)

    worst = _on_simplex(objective, slope, len(gram)) @ gradients
    return mean + c * scale * worst / np.linalg.norm(worst)


def cone_projection(gradients: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Nearest vector that has no negative product with any gradient (quinton2024)."""
    unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    # By duality: the residual is a non-negative combination of the gradients.
    solution, _ = optimize.nnls(-unit.T, vector, maxiter=10000)
    return vector + unit.T @ solution


def projections(gradients: np.ndarray, d: np.ndarray) -> np.ndarray:
    """<d, g_t> / ||g_t||."""
    return gradients @ d / np.linalg.norm(gradients, axis=1)
