"""Calls of balancers with NumPy gradients."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_univrep.balancers import Balancer


def weights(balancer: Balancer, gradients: np.ndarray, losses: np.ndarray | None = None):
    """Weights for gradients (tasks, parameters); losses of 1 by default. Float64 NumPy."""
    losses = np.ones(len(gradients)) if losses is None else losses
    gram = (gradients @ gradients.T).astype("float32")
    return numpy(balancer(losses.astype("float32"), gram))


def combined(balancer: Balancer, gradients: np.ndarray, losses: np.ndarray | None = None):
    """The gradient to follow."""
    return weights(balancer, gradients, losses) @ gradients


def numpy(tensor) -> np.ndarray:
    """Float64 NumPy of a tensor or variable."""
    return ops.convert_to_numpy(tensor).astype("float64")
