"""Losses that compare a teacher and a student, called as `loss(teacher, student)`."""

from keras_univrep.losses.attention_transfer import AttentionTransfer
from keras_univrep.losses.cka import CKA
from keras_univrep.losses.cosine_distance import CosineDistance
from keras_univrep.losses.get import get
from keras_univrep.losses.kl_distillation import KLDistillation
from keras_univrep.losses.normalized_l2 import NormalizedL2

__all__ = [
    "CKA",
    "AttentionTransfer",
    "CosineDistance",
    "KLDistillation",
    "NormalizedL2",
    "get",
]
