"""Layers: one unit of a paper in each file."""

from keras_univrep.layers.alignment_adapter import AlignmentAdapter
from keras_univrep.layers.attention_modulator import AttentionModulator
from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.layers.bilinear_resize import BilinearResize
from keras_univrep.layers.conv2d import Conv2D
from keras_univrep.layers.cosine_classifier import CosineClassifier
from keras_univrep.layers.deep_adaptation import DeepAdaptation
from keras_univrep.layers.domain_batch_normalization import DomainBatchNormalization
from keras_univrep.layers.domain_copy import DomainCopy
from keras_univrep.layers.drop_block import DropBlock
from keras_univrep.layers.feature_wise_transformation import FeatureWiseTransformation
from keras_univrep.layers.film import FiLM
from keras_univrep.layers.film_generator import FiLMGenerator
from keras_univrep.layers.guidance_layer import GuidanceLayer
from keras_univrep.layers.max_pool_with_indices import MaxPoolWithIndices
from keras_univrep.layers.max_unpool import MaxUnpool
from keras_univrep.layers.modulate import modulate
from keras_univrep.layers.omni_head import OmniHead
from keras_univrep.layers.omni_layer import OmniLayer
from keras_univrep.layers.parallel_adapter import ParallelAdapter
from keras_univrep.layers.piggyback_mask import PiggybackMask
from keras_univrep.layers.probabilistic_attention_modulator import ProbabilisticAttentionModulator
from keras_univrep.layers.reconciliation_layer import ReconciliationLayer
from keras_univrep.layers.series_adapter import SeriesAdapter
from keras_univrep.layers.set_encoder import SetEncoder

__all__ = [
    "AlignmentAdapter",
    "AttentionModulator",
    "BatchNormalization",
    "BilinearResize",
    "Conv2D",
    "CosineClassifier",
    "DeepAdaptation",
    "DomainBatchNormalization",
    "DomainCopy",
    "DropBlock",
    "FeatureWiseTransformation",
    "FiLM",
    "FiLMGenerator",
    "GuidanceLayer",
    "MaxPoolWithIndices",
    "MaxUnpool",
    "OmniHead",
    "OmniLayer",
    "ParallelAdapter",
    "PiggybackMask",
    "ProbabilisticAttentionModulator",
    "ReconciliationLayer",
    "SeriesAdapter",
    "SetEncoder",
    "modulate",
]
