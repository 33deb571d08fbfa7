"""Programs that use trained networks: functions here, `keras-univrep` on the command line."""

from keras_univrep.programs.add_domain import add_domain
from keras_univrep.programs.classify_folder import classify_folder
from keras_univrep.programs.dense_predict import dense_predict
from keras_univrep.programs.few_shot_folder import few_shot_folder
from keras_univrep.programs.serve import serve

__all__ = ["add_domain", "classify_folder", "dense_predict", "few_shot_folder", "serve"]
