"""Evaluation protocols."""

from keras_univrep.evaluation.combine_features import combine_features
from keras_univrep.evaluation.comparison_table import comparison_table
from keras_univrep.evaluation.decathlon_predictions import decathlon_predictions
from keras_univrep.evaluation.decathlon_submission import (
    score_decathlon_submission,
    write_decathlon_submission,
)
from keras_univrep.evaluation.domain_accuracy import domain_accuracy
from keras_univrep.evaluation.domain_features import domain_features
from keras_univrep.evaluation.episodic import evaluate_episodes
from keras_univrep.evaluation.keep_settings import keep_settings
from keras_univrep.evaluation.linear_probe import linear_probe
from keras_univrep.evaluation.retrieval import recall_at_k
from keras_univrep.evaluation.show_table import show_table
from keras_univrep.evaluation.source_metrics import SOURCE_METRICS, source_metrics
from keras_univrep.evaluation.write_results import write_results

__all__ = [
    "SOURCE_METRICS",
    "combine_features",
    "comparison_table",
    "decathlon_predictions",
    "domain_accuracy",
    "domain_features",
    "evaluate_episodes",
    "keep_settings",
    "linear_probe",
    "recall_at_k",
    "score_decathlon_submission",
    "show_table",
    "source_metrics",
    "write_decathlon_submission",
    "write_results",
]
