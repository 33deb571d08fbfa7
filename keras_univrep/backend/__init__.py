"""Gradients, train steps, convolutions, order statistics: all that is framework-specific."""

from keras_univrep.backend.base import Scope, centre_tap
from keras_univrep.backend.interface import (
    TrainStep,
    apply_gradients,
    batch_normalization,
    convolution,
    functional,
    gradients,
    lower_median,
    value_and_grad,
    vjp,
)

__all__ = [
    "Scope",
    "TrainStep",
    "apply_gradients",
    "batch_normalization",
    "centre_tap",
    "convolution",
    "functional",
    "gradients",
    "lower_median",
    "value_and_grad",
    "vjp",
]
