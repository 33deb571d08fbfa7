"""Callbacks for long trainings."""

from keras_univrep.callbacks.progress_bar import ProgressBar

__all__ = ["ProgressBar"]
