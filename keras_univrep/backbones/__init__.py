"""Backbones: what is computed."""

from keras_univrep.backbones.adaptable_layers import adaptable_layers
from keras_univrep.backbones.adapted_backbone import AdaptedBackbone
from keras_univrep.backbones.call_modulated import call_modulated, film_layers
from keras_univrep.backbones.conv4 import Conv4
from keras_univrep.backbones.conv_transpose_head import ConvTransposeHead
from keras_univrep.backbones.decode_boxes import decode_boxes
from keras_univrep.backbones.deeplab_v3_head import DeepLabV3Head
from keras_univrep.backbones.dense_head import DenseHead
from keras_univrep.backbones.hrnet18 import HRNet18
from keras_univrep.backbones.mlp import MLP
from keras_univrep.backbones.mtan import MTAN
from keras_univrep.backbones.mti_net import MTINet
from keras_univrep.backbones.multi_domain_network import MultiDomainNetwork
from keras_univrep.backbones.omni_flow import OmniFlow
from keras_univrep.backbones.omni_net import OmniNet
from keras_univrep.backbones.pad_net import PADNet
from keras_univrep.backbones.resnet10 import ResNet10
from keras_univrep.backbones.resnet12 import ResNet12
from keras_univrep.backbones.resnet18 import ResNet18
from keras_univrep.backbones.resnet26 import ResNet26
from keras_univrep.backbones.resnet50 import ResNet50
from keras_univrep.backbones.retina_net_head import RetinaNetHead
from keras_univrep.backbones.segnet import SegNet
from keras_univrep.backbones.spatial_attention import spatial_attention
from keras_univrep.backbones.stem_pooled_resnet import StemPooledResNet
from keras_univrep.backbones.transformed_backbone import TransformedBackbone

__all__ = [
    "AdaptedBackbone",
    "Conv4",
    "ConvTransposeHead",
    "DeepLabV3Head",
    "DenseHead",
    "HRNet18",
    "MLP",
    "MTAN",
    "MTINet",
    "MultiDomainNetwork",
    "OmniFlow",
    "OmniNet",
    "PADNet",
    "ResNet10",
    "ResNet12",
    "ResNet18",
    "ResNet26",
    "ResNet50",
    "RetinaNetHead",
    "SegNet",
    "StemPooledResNet",
    "TransformedBackbone",
    "adaptable_layers",
    "call_modulated",
    "decode_boxes",
    "film_layers",
    "spatial_attention",
]
