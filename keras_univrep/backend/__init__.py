"""Gradients, train steps and order statistics: the only framework-specific code of the library."""

from keras_univrep.backend.base import Scope
from keras_univrep.backend.interface import (
    TrainStep,
    apply_gradients,
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
    "functional",
    "gradients",
    "lower_median",
    "value_and_grad",
    "vjp",
]
