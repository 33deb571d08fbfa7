"""Evaluation protocols."""

from keras_univrep.evaluation.domain_accuracy import domain_accuracy
from keras_univrep.evaluation.domain_features import domain_features
from keras_univrep.evaluation.write_results import write_results

__all__ = ["domain_accuracy", "domain_features", "write_results"]
