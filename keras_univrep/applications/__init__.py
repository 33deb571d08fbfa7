"""Constructors of networks, with trained weights where there are."""

from keras_univrep.applications.decode_predictions import decode_predictions
from keras_univrep.applications.domain_entry import DomainEntry
from keras_univrep.applications.find_entry import find_entry
from keras_univrep.applications.find_weights import find_weights
from keras_univrep.applications.from_domain_packs import from_domain_packs
from keras_univrep.applications.mtan_segnet import MTANSegNet
from keras_univrep.applications.mti_net import MTINet
from keras_univrep.applications.omni_conv4 import OmniConv4
from keras_univrep.applications.omni_resnet10 import OmniResNet10
from keras_univrep.applications.omni_resnet12 import OmniResNet12
from keras_univrep.applications.omni_resnet18 import OmniResNet18
from keras_univrep.applications.pad_net import PADNet
from keras_univrep.applications.preprocess_input import preprocess_input
from keras_univrep.applications.register_weights import register_weights
from keras_univrep.applications.save_weights import save_weights
from keras_univrep.applications.universal_resnet18 import UniversalResNet18
from keras_univrep.applications.universal_resnet26 import UniversalResNet26
from keras_univrep.applications.universal_segnet import UniversalSegNet
from keras_univrep.applications.weights_entry import WeightsEntry
from keras_univrep.applications.weights_registry import list_weights
from keras_univrep.applications.x_learner_resnet50 import XLearnerResNet50

__all__ = [
    "DomainEntry",
    "MTANSegNet",
    "MTINet",
    "OmniConv4",
    "OmniResNet10",
    "OmniResNet12",
    "OmniResNet18",
    "PADNet",
    "UniversalResNet18",
    "UniversalResNet26",
    "UniversalSegNet",
    "WeightsEntry",
    "XLearnerResNet50",
    "decode_predictions",
    "find_entry",
    "find_weights",
    "from_domain_packs",
    "list_weights",
    "preprocess_input",
    "register_weights",
    "save_weights",
]
