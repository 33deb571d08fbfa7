"""Losses that compare a teacher and a student, called as `loss(teacher, student)`, and those of
dense tasks, called as `loss(target, prediction)`."""

from keras_univrep.losses.anchor_boxes import anchor_boxes
from keras_univrep.losses.attention_transfer import AttentionTransfer
from keras_univrep.losses.cka import CKA
from keras_univrep.losses.cosine_distance import CosineDistance
from keras_univrep.losses.depth_l1 import DepthL1
from keras_univrep.losses.detection_loss import DetectionLoss
from keras_univrep.losses.gaussian_kl import gaussian_kl
from keras_univrep.losses.get import get
from keras_univrep.losses.kl_distillation import KLDistillation
from keras_univrep.losses.masked_squared_error import MaskedSquaredError
from keras_univrep.losses.normal_cosine import NormalCosine
from keras_univrep.losses.normalized_l2 import NormalizedL2
from keras_univrep.losses.nt_xent import NTXent
from keras_univrep.losses.segmentation_cross_entropy import SegmentationCrossEntropy

__all__ = [
    "CKA",
    "AttentionTransfer",
    "CosineDistance",
    "DepthL1",
    "DetectionLoss",
    "KLDistillation",
    "MaskedSquaredError",
    "NTXent",
    "NormalCosine",
    "NormalizedL2",
    "SegmentationCrossEntropy",
    "anchor_boxes",
    "gaussian_kl",
    "get",
]
