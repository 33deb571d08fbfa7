"""Queries with what was retrieved for them."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure

RIGHT, WRONG = "#00a000", "#d00000"


def plot_gallery(
    path: str | pathlib.Path,
    images: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    queries: Sequence[int],
    neighbours: int = 8,
    class_names: Sequence[str] | None = None,
) -> pathlib.Path:
    """Draws each query and the images nearest to it: green if of its class, red if not.

    One row a query: the query first, then its `neighbours` nearest by cosine similarity, itself
    left out, as in li2022 figures 12 to 15.

    Args:
        path: The PNG file.
        images: Images of a test set, uint8, (images, height, width, 3).
        features: Features of the same images, (images, channels).
        labels: Classes of the same images, integers (images,).
        queries: Indices of the queries.
        neighbours: How many to draw of each.
        class_names: Names by class, written above the queries; `None` for none.

    Returns:
        The path.

    Raises:
        ValueError: If images, features and labels do not belong together, there are no queries, or
            there are not as many neighbours.
        ImportError: If matplotlib is not installed.
    """
    if not len(images) == len(features) == len(labels) > neighbours >= 1 or not len(queries):
        raise ValueError(
            "Each image must have one feature and one label, each query `neighbours` others, and "
            f"there must be a query. Received: {len(images)} images, {len(features)} features, "
            f"{len(labels)} labels, {len(queries)} queries, neighbours={neighbours}. "
            "Give all of one test set."
        )
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(norms > 0.0, norms, 1.0)
    figure = new_figure(0.9 * (1 + neighbours), 1.05 * len(queries) + 0.2)
    axes = figure.subplots(len(queries), 1 + neighbours, squeeze=False)
    for row, query in zip(axes, queries, strict=True):
        title = "" if class_names is None else str(class_names[labels[query]])[:16]
        _draw(row[0], images[query], title, None)
        order = np.argsort(-(unit @ unit[query]), kind="stable")
        for axis, index in zip(row[1:], order[order != query]):
            _draw(axis, images[index], "", RIGHT if labels[index] == labels[query] else WRONG)
    return save_figure(figure, path)


def _draw(axis: Any, image: np.ndarray, title: str, colour: str | None) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=7)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(colour is not None)
        spine.set_color(colour or "black")
        spine.set_linewidth(3)
