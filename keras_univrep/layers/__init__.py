"""Layers: one unit of a paper in each file."""

from keras_univrep.layers.alignment_adapter import AlignmentAdapter
from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.layers.domain_batch_normalization import DomainBatchNormalization
from keras_univrep.layers.parallel_adapter import ParallelAdapter
from keras_univrep.layers.series_adapter import SeriesAdapter

__all__ = [
    "AlignmentAdapter",
    "BatchNormalization",
    "DomainBatchNormalization",
    "ParallelAdapter",
    "SeriesAdapter",
]
