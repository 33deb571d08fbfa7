"""Pictures of what was learned."""

from keras_univrep.plotting.attention import plot_attention
from keras_univrep.plotting.attention_maps import plot_attention_maps
from keras_univrep.plotting.boxes import plot_boxes
from keras_univrep.plotting.curves import plot_curves
from keras_univrep.plotting.dense_maps import plot_dense_maps
from keras_univrep.plotting.gallery import plot_gallery
from keras_univrep.plotting.gradient_conflict import plot_gradient_conflict
from keras_univrep.plotting.intervals import plot_intervals
from keras_univrep.plotting.neighbours import plot_neighbours
from keras_univrep.plotting.similarity import plot_similarity

__all__ = [
    "plot_attention",
    "plot_attention_maps",
    "plot_boxes",
    "plot_curves",
    "plot_dense_maps",
    "plot_gallery",
    "plot_gradient_conflict",
    "plot_intervals",
    "plot_neighbours",
    "plot_similarity",
]
