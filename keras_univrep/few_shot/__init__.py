"""Classifiers of frozen features: fit on a support set, predict a query set, many at once."""

from keras_univrep.few_shot.cross_transformer import CrossTransformer
from keras_univrep.few_shot.ensemble import Ensemble
from keras_univrep.few_shot.fine_tuned_linear import FineTunedLinear
from keras_univrep.few_shot.logistic_regression import LogisticRegression
from keras_univrep.few_shot.nearest_centroid import NearestCentroid
from keras_univrep.few_shot.nearest_neighbours import NearestNeighbours
from keras_univrep.few_shot.pre_classifier_alignment import PreClassifierAlignment
from keras_univrep.few_shot.simple_cnaps import SimpleCNAPS
from keras_univrep.few_shot.support_vector_machine import SupportVectorMachine
from keras_univrep.few_shot.sur import SUR
from keras_univrep.few_shot.transductive_alignment import TransductiveAlignment
from keras_univrep.few_shot.urt import URT

__all__ = [
    "SUR",
    "URT",
    "CrossTransformer",
    "Ensemble",
    "FineTunedLinear",
    "LogisticRegression",
    "NearestCentroid",
    "NearestNeighbours",
    "PreClassifierAlignment",
    "SimpleCNAPS",
    "SupportVectorMachine",
    "TransductiveAlignment",
]
