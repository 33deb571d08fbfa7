"""Backbones: what is computed."""

from keras_univrep.backbones.resnet26 import ResNet26

__all__ = ["ResNet26"]
