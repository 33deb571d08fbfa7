"""Similarity of one network's features to those of others."""

import pathlib
from collections.abc import Mapping

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure


def plot_similarity(
    path: str | pathlib.Path, similarity: Mapping[str, Mapping[str, float]], title: str
) -> pathlib.Path:
    """Draws similarities as a map of numbers, one row a network and one column a domain.

    Args:
        path: The PNG file.
        similarity: For each network, its similarity in each domain, in [0, 1], dimensionless.
        title: What the numbers are.

    Returns:
        The path.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    rows = list(similarity)
    columns = list(similarity[rows[0]])
    values = np.array([[similarity[row][column] for column in columns] for row in rows])
    figure = new_figure(1.3 * len(columns) + 2.5, 0.6 * len(rows) + 1.5)
    axis = figure.subplots()
    mappable = axis.imshow(values, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.set_title(title, fontsize=10)
    for i, j in np.ndindex(values.shape):
        colour = "black" if values[i, j] > 0.6 else "white"
        axis.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color=colour)
    figure.colorbar(mappable)
    return save_figure(figure, path)
