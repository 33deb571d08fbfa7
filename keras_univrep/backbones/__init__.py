"""Backbones: what is computed."""

from keras_univrep.backbones.adaptable_layers import adaptable_layers
from keras_univrep.backbones.adapted_backbone import AdaptedBackbone
from keras_univrep.backbones.call_modulated import call_modulated, film_layers
from keras_univrep.backbones.conv4 import Conv4
from keras_univrep.backbones.resnet18 import ResNet18
from keras_univrep.backbones.resnet26 import ResNet26

__all__ = [
    "AdaptedBackbone",
    "Conv4",
    "ResNet18",
    "ResNet26",
    "adaptable_layers",
    "call_modulated",
    "film_layers",
]
