"""Numbers that summarise results over pixels, tasks, domains and episodes."""

from keras_univrep.metrics.accuracy_within import AccuracyWithin
from keras_univrep.metrics.average_rank import average_rank
from keras_univrep.metrics.box_average_precision import BoxAveragePrecision
from keras_univrep.metrics.confidence_interval import confidence_interval
from keras_univrep.metrics.decathlon_score import DECATHLON_BASELINE, decathlon_score
from keras_univrep.metrics.delta_mdl import delta_mdl
from keras_univrep.metrics.delta_mtl import delta_mtl
from keras_univrep.metrics.depth_error import DepthError
from keras_univrep.metrics.mean_iou import MeanIoU
from keras_univrep.metrics.nil_accuracy import nil_accuracy
from keras_univrep.metrics.normal_error import NormalError
from keras_univrep.metrics.parameter_ratio import parameter_ratio

__all__ = [
    "DECATHLON_BASELINE",
    "AccuracyWithin",
    "BoxAveragePrecision",
    "DepthError",
    "MeanIoU",
    "NormalError",
    "average_rank",
    "confidence_interval",
    "decathlon_score",
    "delta_mdl",
    "delta_mtl",
    "nil_accuracy",
    "parameter_ratio",
]
