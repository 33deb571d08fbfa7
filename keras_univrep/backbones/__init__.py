"""Backbones: what is computed."""

from keras_univrep.backbones.adaptable_layers import adaptable_layers
from keras_univrep.backbones.adapted_backbone import AdaptedBackbone
from keras_univrep.backbones.resnet26 import ResNet26

__all__ = ["AdaptedBackbone", "ResNet26", "adaptable_layers"]
