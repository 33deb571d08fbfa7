"""Constructors of networks with trained weights."""

from keras_univrep.applications.universal_resnet26 import UniversalResNet26
from keras_univrep.applications.weights_registry import list_weights

__all__ = ["UniversalResNet26", "list_weights"]
