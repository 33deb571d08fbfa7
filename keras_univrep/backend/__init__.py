"""Gradients, train steps, convolutions, order statistics: all that is framework-specific."""

from keras_univrep.backend.base import Scope, centre_tap
from keras_univrep.backend.generator_states import generator_states, set_generator_states
from keras_univrep.backend.image_interface import (
    INDEX_DTYPE,
    average_pool,
    convolution,
    max_pool,
    max_pool_with_indices,
    max_unpool,
)
from keras_univrep.backend.interface import (
    TrainStep,
    adadelta,
    apply_gradients,
    batch_normalization,
    functional,
    gradients,
    on_processor,
    repeat,
    value_and_grad,
    vjp,
)
from keras_univrep.backend.loss_interface import lower_median, with_gradients
from keras_univrep.backend.memory import keep_memory
from keras_univrep.backend.replica_interface import (
    in_a_replica,
    in_every_replica,
    replicas,
    share,
    whole,
)

__all__ = [
    "INDEX_DTYPE",
    "Scope",
    "TrainStep",
    "adadelta",
    "apply_gradients",
    "average_pool",
    "batch_normalization",
    "centre_tap",
    "convolution",
    "functional",
    "generator_states",
    "gradients",
    "in_a_replica",
    "in_every_replica",
    "keep_memory",
    "lower_median",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "on_processor",
    "repeat",
    "replicas",
    "set_generator_states",
    "share",
    "value_and_grad",
    "vjp",
    "whole",
    "with_gradients",
]
