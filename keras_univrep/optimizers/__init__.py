"""Optimizers whose weight decay is the L2 penalty that the papers train with."""

from keras_univrep.optimizers.coupled_adam import CoupledAdam
from keras_univrep.optimizers.coupled_sgd import CoupledSGD
from keras_univrep.optimizers.l2_for_size import l2_for_size

__all__ = ["CoupledAdam", "CoupledSGD", "l2_for_size"]
